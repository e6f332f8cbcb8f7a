"""The soak in small, and its judgement: what grows is found, what only shakes is not."""

from __future__ import annotations

import random
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from .soak_plot import plot
from .soak_run import SAMPLES, read, soak
from .soak_trend import LINES, Line, Sample, trends

RSS = LINES[0]
#: An actor for each key stays for a minute: a short soak sees them come and none go.
ACTIVATION = "callboard.actors.activation.Activation"


def samples(minutes: int, **grows: float) -> list[Sample]:
    """Return samples of ten seconds; ``grows`` is by the hour. They shake by a hundredth."""
    shake = random.Random(1)

    def value(name: str, base: float, at: int) -> float:
        return base * shake.uniform(0.99, 1.01) + grows.get(name, 0.0) * at / 3600

    return [
        {
            "at": at,
            "rss": value("rss", 37e6, at),
            "objects": value("objects", 1400, at),
            "descriptors": 27 + at // 10 % 2 + round(grows.get("descriptors", 0.0) * at / 3600),
            "threads": 13,
            "wal": 4_100_000,
            "file": 210_000,
            "tell": [value("tell", 0.5, at), 2.0, 500.0],
            "handle": [1.0, 4.0, 500.0],
            "ask": [2.0, 4.0, 500.0],
        }
        for at in range(10, minutes * 60, 10)
    ]


def complaints(found: list[Sample]) -> list[str]:
    return [each.line.name for each in trends(found) if each.complaint]


def test_what_only_shakes_is_flat() -> None:
    assert complaints(samples(60)) == []


def test_one_that_is_far_off_does_not_count() -> None:
    found = samples(60)
    found[-1]["rss"] = 90e6
    assert complaints(found) == []


def test_what_happens_in_the_warm_up_does_not_count() -> None:
    found = samples(60)
    for each in found[:28]:
        each["rss"] = 20e6
    assert complaints(found) == []


@pytest.mark.parametrize(
    ("name", "grows"), [("rss", 6e6), ("objects", 150.0), ("descriptors", 4.0), ("tell", 4.0)]
)
def test_what_grows_is_found(name: str, grows: float) -> None:
    assert complaints(samples(60, **{name: grows})) == [name]
    assert complaints(samples(60, **{name: grows / 4})) == []


def test_growth_is_reckoned_for_the_time_that_is_judged() -> None:
    (rss,) = [each for each in trends(samples(60, rss=6e6)) if each.line is RSS]
    assert rss.seconds == pytest.approx(3290, abs=10)
    assert rss.per_hour == pytest.approx(6.0, abs=0.2)
    assert rss.growth == pytest.approx(6.0 * rss.seconds / 3600, abs=0.2)
    assert Line("rss", "memory", 5.0, 2.0).allowed(7200) == 10.0


def test_the_plot_is_a_picture_with_a_line_for_each_thing() -> None:
    root = ET.fromstring(plot(samples(60), "an hour & more"))  # noqa: S314  (our own)
    space = {"svg": "http://www.w3.org/2000/svg"}
    assert len(root.findall(".//svg:polyline", space)) == len(LINES)
    assert "an hour & more" in [each.text for each in root.findall(".//svg:text", space)]


@pytest.mark.alone
@pytest.mark.slow
def test_mixed_load_leaves_nothing_behind(tmp_path: Path) -> None:
    """Guests come, go and are killed; descriptors, threads and objects end where they began."""
    done = soak(tmp_path, 5.0, 0.5)
    assert done.complaints() == []
    assert done.end["handled"]["guests"] > 0
    assert done.end["heard"] > 0 < done.client_end["heard"]
    for found in (done.owner, done.client):
        for name, slack in (("descriptors", 4), ("threads", 3)):
            early, late = ([each[name] for each in half] for half in (found[2:6], found[-4:]))
            assert min(late) <= max(early) + slack, (name, early, late)
    kept = [each["objects"] - each["kinds"].get(ACTIVATION, 0)
            for each in done.owner]  # fmt: skip
    assert min(kept[-4:]) <= max(kept[2:6]) + 20, kept
    assert [each["at"] for each in read(tmp_path / SAMPLES)["owner"]] == [
        each["at"] for each in done.owner
    ]
