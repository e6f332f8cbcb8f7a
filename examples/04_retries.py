"""Retries and dead letters: what fails is tried again, then kept with its error, then requeued."""

import threading

from callboard import Context, Event, RetryPolicy, Runtime

rt = Runtime("mail.db")
given_up, server_up, sent = threading.Event(), threading.Event(), threading.Event()


@rt.mailbox("mail", retry=RetryPolicy(attempts=3, delay=0.1, factor=2.0))
def send(address: str, context: Context) -> None:
    print(f"attempt {context.attempt}: {address}")
    if not server_up.is_set():
        msg = "the mail server is down"
        raise ConnectionError(msg)
    print(f"sent: {address}")
    sent.set()


def on_dead(event: Event) -> None:
    print(f"given up after {event['attempts']} attempts")
    given_up.set()


if __name__ == "__main__":
    rt.events.subscribe(on_dead, "message.dead")
    with rt:
        rt.tell(send, "ada@example.org")
        given_up.wait()
        [letter] = rt.dead(send)
        print(f"dead letter: {letter.message}: {letter.error}")

        server_up.set()
        rt.requeue(letter.id)
        sent.wait()
    print("dead letters left:", len(rt.dead()))

# Output:
# > attempt 1: ada@example.org
# > attempt 2: ada@example.org
# > attempt 3: ada@example.org
# > given up after 3 attempts
# > dead letter: ada@example.org: ConnectionError: the mail server is down
# > attempt 1: ada@example.org
# > sent: ada@example.org
# > dead letters left: 0
