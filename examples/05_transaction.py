"""One transaction with rows of your own: the board lives in your database."""

import contextlib
import sqlite3
import threading

from callboard import Context, Runtime

rt = Runtime("shop.db")
shipped = threading.Event()


@rt.mailbox("payments")
def take_payment(order: int, context: Context) -> None:
    # Staged: this row, the next message and the end of this one are one commit, or none of them.
    context.execute("UPDATE orders SET paid = 1 WHERE id = ?", (order,), expect=1)
    rt.tell(ship, order)


@rt.mailbox("shipping")
def ship(order: int, context: Context) -> None:
    print("shipping:", context.query("SELECT id, item, paid FROM orders WHERE id = ?", (order,)))
    shipped.set()


def place(order: int, item: str) -> None:
    with rt.transaction() as tx:  # the order and the message about it: both or neither
        tx.execute("INSERT INTO orders (id, item) VALUES (?, ?)", (order, item))
        tx.tell(take_payment, order)
        if item == "unicorn":
            msg = "out of stock"
            raise LookupError(msg)


if __name__ == "__main__":
    shop = sqlite3.connect("shop.db", isolation_level=None)
    shop.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY, item TEXT, paid INTEGER DEFAULT 0)")
    with rt:
        place(1, "lamp")
        with contextlib.suppress(LookupError):
            place(2, "unicorn")
        shipped.wait()
    print("orders:", shop.execute("SELECT id, item, paid FROM orders").fetchall())
    shop.close()

# Output:
# > shipping: [(1, 'lamp', 1)]
# > orders: [(1, 'lamp', 1)]
