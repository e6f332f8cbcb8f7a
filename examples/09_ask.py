"""Ask: the handler's return value, after its turn is on disk, here and from another process."""

import subprocess
import sys
from dataclasses import dataclass

from callboard import AskDeadlock, Runtime, WorkerActor

rt = Runtime("bank.db")


@dataclass
class Balance:
    cents: int = 0


@rt.mailbox("accounts", keyed=True)
class Account(WorkerActor):
    state: Balance

    def on_receive(self, cents: int) -> Balance:
        if self.state.cents + cents < 0:
            raise ValueError(f"only {self.state.cents} there")
        self.state.cents += cents
        return self.state


@rt.mailbox("circle")
def circle(n: int) -> int:
    return rt.ask(circle, n)


def client() -> None:
    print("client:", rt.ask(Account, -5, key="ada"), flush=True)


def owner() -> None:
    with rt:
        rt.tell(Account, 40, key="ada")
        print("owner:", rt.ask(Account, 2, key="ada"), flush=True)
        subprocess.run([sys.executable, __file__, "client"], check=True)
        for mailbox, message, key in ((Account, -50, "ada"), (circle, 1, None)):
            try:
                rt.ask(mailbox, message, key=key)
            except (ValueError, AskDeadlock) as error:
                print(f"{type(error).__name__}: {str(error).split(':')[0]}")


if __name__ == "__main__":
    client() if sys.argv[1:] == ["client"] else owner()

# Output:
# > owner: Balance(cents=42)
# > client: Balance(cents=37)
# > ValueError: only 37 there
# > AskDeadlock: ask to 'circle' can never be answered
