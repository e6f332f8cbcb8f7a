"""A stateful actor for each key: one cart for each customer, loaded when a message comes for it."""

import threading
from dataclasses import dataclass, field

from callboard import Runtime, WorkerActor

rt = Runtime("carts.db")
handled = threading.Semaphore(0)


@dataclass
class AddItem:
    item: str
    count: int = 1


@dataclass
class Checkout:
    pass


@dataclass
class CartState:
    items: dict[str, int] = field(default_factory=dict)
    orders: int = 0


class Cart(WorkerActor):
    state: CartState  # durable: stored with each turn that changed it

    def on_receive(self, message: AddItem | Checkout) -> None:
        items = self.state.items
        match message:
            case AddItem(item, count):
                items[item] = items.get(item, 0) + count
            case Checkout():
                print(f"{self.context.key} orders {items}")
                self.state = CartState(orders=self.state.orders + 1)


carts = rt.mailbox("carts", Cart, keyed=True)

if __name__ == "__main__":
    rt.events.subscribe(lambda _: handled.release(), "message.handled")
    with rt:
        carts.tell(AddItem("tea", 2), key="ada")
        carts.tell(AddItem("pen"), key="bob")
        rt.ref(Cart, "ada").tell(AddItem("tea"))
        carts.tell(Checkout(), key="ada")
        for _ in range(4):
            handled.acquire()
    print("ada:", rt.state(Cart, "ada"))  # read from the store: nothing runs any more
    print("bob:", rt.state(Cart, "bob"))

# Output:
# > ada orders {'tea': 3}
# > ada: CartState(items={}, orders=1)
# > bob: CartState(items={'pen': 1}, orders=0)
