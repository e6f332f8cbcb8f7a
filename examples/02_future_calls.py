"""Future calls: schedule, move, list and cancel them by a name of your own.

They are rows of the store: a restart changes nothing, and a million cost no more memory than one.
"""

import threading

from callboard import Runtime

rt = Runtime("reminders.db")
called = threading.Event()


@rt.mailbox("reminders")
def remind(text: str) -> None:
    print(f"reminder: {text}")
    called.set()


def show(when: str) -> None:
    print(when, *(timer.name for timer in rt.timers(remind)))


if __name__ == "__main__":
    rt.tell(remind, "leave for lunch", after="2h", id="lunch")
    rt.tell(remind, "call Ada", after="3h", id="call")
    rt.tell(remind, "water the plants", after="7d", id="plants")
    show("told:")

    rt.tell(remind, "call Ada now", after=1.0, id="call")  # the same id: it is moved
    show("moved:")

    print("cancelled:", rt.cancel(remind, "lunch"), rt.cancel(remind, "breakfast"))
    show("left:")

    with rt:  # own the store: until here this process was a client
        called.wait()
    show("later:")

# Output:
# > told: lunch call plants
# > moved: call lunch plants
# > cancelled: True False
# > left: call plants
# > reminder: call Ada now
# > later: plants
