"""Two processes, one module: a client tells, the owner handles it at once.

The client never starts its Runtime. Its messages are on disk when `tell` returns, whether an owner
runs or not.
"""

import subprocess
import sys
import threading

from callboard import Runtime

rt = Runtime("work.db")
finished = threading.Event()


@rt.mailbox("work")
def work(task: str) -> None:
    print(f"{rt.role}: {task}", flush=True)
    if task == "go home":
        finished.set()


def client() -> None:
    print(f"{rt.role}: telling two tasks", flush=True)
    rt.tell_many(work, ["sweep the floor", "go home"])


def owner() -> None:
    rt.tell(work, "switch on the light")  # told before anybody runs: it waits
    with rt:
        subprocess.run([sys.executable, __file__, "client"], check=True)
        finished.wait()


if __name__ == "__main__":
    client() if sys.argv[1:] == ["client"] else owner()

# Output:
# > owner: switch on the light
# > client: telling two tasks
# > owner: sweep the floor
# > owner: go home
