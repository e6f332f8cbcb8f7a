"""A lost line restarts its actor, and what depends on it; an actor left alone is repaired."""

import threading

from callboard import Runtime, WorkerActor

rt = Runtime("payments.db")
done = threading.Semaphore(0)
cut = threading.Event()


class Bank(WorkerActor):
    restart_on = (ConnectionError,)  # not the message's fault: no attempt is counted

    def on_start(self) -> None:
        print("bank: connects")

    def on_receive(self, order: int) -> None:
        if cut.is_set():
            cut.clear()
            raise ConnectionError
        print(f"bank: order {order}, attempt {self.context.attempt}")


class Refunds(WorkerActor):
    def on_start(self) -> None:
        print("refunds: starts")

    def on_receive(self, order: int) -> None: ...


group = rt.supervisor("group", strategy="rest_for_one", intensity=1)
mailboxes = [rt.mailbox(w.__name__, w, supervisor=group) for w in (Bank, Refunds)]

if __name__ == "__main__":
    for event in ("message.handled", "actor.faulted"):
        rt.events.subscribe(lambda _: done.release(), event)
    with rt:
        for order in (1, 2):
            for mailbox in mailboxes:
                mailbox.tell(order)
                done.acquire()
            cut.set()  # the bank restarts at its next order, and the refunds with it
        mailboxes[0].tell(3)  # a second time within a minute: it is left alone, the order waits
        done.acquire()
        print([each.state for each in rt.tree().children[-1].children[0].children])
        rt.restart("Bank")
        done.acquire()

# Output:
# > bank: connects
# > bank: order 1, attempt 1
# > refunds: starts
# > bank: connects
# > bank: order 2, attempt 1
# > refunds: starts
# > ['faulted', 'running']
# > bank: connects
# > bank: order 3, attempt 1
