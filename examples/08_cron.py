"""Schedules: a report at midnight in a zone, a weekly job, and a service that was down for a while.

The clock is turned by hand here, so that a month passes at once; `with rt:` is all a service needs.
"""

from datetime import UTC, datetime

from callboard import ManualClock, Runtime, Tick
from callboard.runtime.testing import Board

# The night of 31 March 2024 has no 2:30 in Berlin.
rt = Runtime("reports.db", clock=ManualClock(datetime(2024, 3, 29, 12, tzinfo=UTC)))
board = Board(rt)


@rt.cron("30 2 * * *", tz="Europe/Berlin", missed="last")
def report(tick: Tick) -> None:
    note = f", and makes up for {tick.missed} more" if tick.missed else ""
    print(f"report for {tick.at:%d %b %H:%M} UTC{note}")


@rt.mailbox("maintenance")
def maintain(what: str) -> None:
    print(f"maintenance: {what}")


rt.cron("0 4 * * sun", name="vacuum", to=maintain, message="vacuum", tz="Europe/Berlin")


if __name__ == "__main__":
    print("next:", *(f"{at:%d.%m. %H:%M}" for at in rt.next_runs(report, 4)))
    with board:
        board.advance("3d")
        for each in rt.schedules():
            print(f"{each.name}: next at {each.next_at:%d %b %H:%M} UTC")

    board.clock.shift("5d")  # nobody runs it; what was missed is made up for by one tick
    with board:
        board.settle()
        rt.pause("vacuum")
        board.advance("2d")

# Output:
# > next: 30.03. 02:30 31.03. 03:00 01.04. 02:30 02.04. 02:30
# > report for 30 Mar 01:30 UTC
# > report for 31 Mar 01:00 UTC
# > maintenance: vacuum
# > report for 01 Apr 00:30 UTC
# > report: next at 02 Apr 00:30 UTC
# > vacuum: next at 07 Apr 02:00 UTC
# > report for 06 Apr 00:30 UTC, and makes up for 4 more
# > report for 07 Apr 00:30 UTC
# > report for 08 Apr 00:30 UTC
