"""`examples/shop` in real time: the demo, its owner killed, and a small spike."""

from __future__ import annotations

import pytest
from shop import crash, demo, spike


@pytest.mark.slow
def test_the_demo_comes_out_right(capfd: pytest.CaptureFixture[str]) -> None:
    code = demo.main()
    out, errors = capfd.readouterr()
    assert errors == ""
    assert code == 0, out
    assert "WRONG" not in out


@pytest.mark.slow
@pytest.mark.prove
def test_every_order_is_right_after_kills(capfd: pytest.CaptureFixture[str]) -> None:
    code = crash.main(kills=3)
    out, _ = capfd.readouterr()
    assert code == 0, out
    assert out.startswith(f"3 kills, {3 * crash.PER_KILL} customers")


@pytest.mark.alone
@pytest.mark.slow
def test_a_spike_is_absorbed_while_others_are_answered() -> None:
    meanwhile, took = spike.run(5000)
    assert 0 < len(meanwhile) <= len(took)
    assert min(took) > 0
