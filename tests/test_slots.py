"""The run slots: what ran is known after the process was killed."""

from __future__ import annotations

from pathlib import Path

from callboard.persistence.slots import SLOTS, Slots, read

from .processes import Child


def test_what_runs_is_seen_by_others_until_it_has_ended(tmp_path: Path) -> None:
    slots = Slots(tmp_path / "slots")
    first, second = slots.claim(), slots.claim()
    slots.note(first, 7)
    slots.note(second, 5)
    assert slots.running() == [5, 7]
    assert sorted(read(tmp_path / "slots")) == [5, 7]
    slots.note(first, 0)
    slots.release(second)
    assert read(tmp_path / "slots") == []
    slots.close()


def test_what_ran_in_a_process_that_was_killed_is_still_there(tmp_path: Path) -> None:
    source = """
    from pathlib import Path
    from callboard.persistence.slots import Slots
    slots = Slots(Path("slots"))
    slots.note(slots.claim(), 42)
    print("runs", flush=True)
    input()
    """
    with Child(source, cwd=tmp_path) as child:
        child.wait_for("runs")
        child.kill()
    slots = Slots(tmp_path / "slots")
    assert slots.running() == [42]
    slots.clear()
    assert slots.running() == []
    slots.close()


def test_when_all_are_taken_the_next_thread_is_not_blamed(tmp_path: Path) -> None:
    slots = Slots(tmp_path / "slots")
    claimed = {slots.claim() for _ in range(SLOTS)}
    assert len(claimed) == SLOTS
    assert slots.claim() == -1
    slots.note(-1, 9)
    slots.release(-1)
    assert slots.running() == []
    slots.release(3)
    assert slots.claim() == 3
    slots.close()


def test_a_handler_that_was_left_behind_notes_into_nothing(tmp_path: Path) -> None:
    slots = Slots(tmp_path / "slots")
    slot = slots.claim()
    slots.close()
    slots.note(slot, 9)
    slots.close()
    assert read(tmp_path / "slots") == []


def test_without_a_whole_file_nothing_runs(tmp_path: Path) -> None:
    assert read(tmp_path / "slots") == []
    (tmp_path / "slots").write_bytes(b"short")
    assert read(tmp_path / "slots") == []


def test_the_file_is_for_this_user_alone(tmp_path: Path) -> None:
    Slots(tmp_path / "slots").close()
    assert (tmp_path / "slots").stat().st_mode & 0o777 == 0o600
