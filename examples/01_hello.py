"""Hello: run it, kill it after a second, run it again."""

from callboard import Runtime

rt = Runtime("board.db")


@rt.mailbox("greetings")
def greet(name: str) -> None:
    print(f"hello {name}")


if __name__ == "__main__":
    rt.tell(greet, "now")
    rt.tell(greet, "even after a crash", after=10)
    rt.run()

# First run, killed after a second:
# > hello now
#
# Second run, ten seconds later; the second line was told by the first run:
# > hello now
# > hello even after a crash
# > hello even after a crash
