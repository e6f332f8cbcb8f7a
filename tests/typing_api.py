"""What a type checker must see. Checked by `make types` and never run.

Each `type: ignore` stands where a mistake must be found: mypy reports those that ignore nothing.
"""

import asyncio
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, assert_type

from callboard import (
    Context,
    DeadLetter,
    Event,
    MailboxInfo,
    MailboxRef,
    MessageInfo,
    RetryPolicy,
    Runtime,
    ScheduleInfo,
    Tick,
    TimerInfo,
    Transaction,
    WorkerActor,
    message,
    upcast,
)

rt = Runtime("board.db", durability="full", threads=4)


# --- declaring ---------------------------------------------------------------------------------


@rt.mailbox("greetings", workers=4, retry=RetryPolicy(attempts=3), timeout=5.0)
def greet(name: str) -> int:
    return len(name)


@rt.mailbox("letters")
async def write(text: str, context: Context) -> int:
    assert_type(context.message_id, int)
    assert_type(context.key, str | None)
    await asyncio.to_thread(print, text)
    return context.attempt


@rt.mailbox("ticks")
def tick() -> None: ...


@rt.cron("0 9 * * *", tz="Europe/Paris", jitter="30s", retry=RetryPolicy(), timeout=5.0)
def report(tick: Tick) -> int:
    assert_type(tick.missed, int)
    return tick.at.hour


assert_type(report(Tick("report", datetime(2024, 1, 1, tzinfo=UTC))), int)
assert_type(rt.cron("@daily", to="ticks", message="sweep", overlap="allow"), str)
assert_type(rt.next_runs(report, 3), list[datetime])
rt.cron("@daily", missed="never")  # type: ignore[call-overload]
rt.cron("@daily", to="ticks", retry=RetryPolicy())  # type: ignore[call-overload]


@message("cart.add", version=2)
@dataclass
class AddItem:
    item: str


@dataclass
class Checkout:
    pass


@upcast("cart.add", version=1)
def named(body: dict[str, Any]) -> dict[str, Any]:
    return {"item": body["name"]}


@dataclass
class CartState:
    items: list[str] = field(default_factory=list)


@rt.mailbox("carts", keyed=True)
class Cart(WorkerActor):
    state: CartState

    def on_receive(self, message: AddItem | Checkout) -> str:
        return "done"


class Mailman(WorkerActor):
    async def on_receive(self, message: str) -> bool:
        return True


def the_decorator_returns_the_worker_unchanged() -> None:
    assert_type(greet("ada"), int)
    assert_type(Cart().state, CartState)
    greet(3)  # type: ignore[arg-type]


def a_reference_knows_what_is_sent_and_what_comes_back() -> None:
    assert_type(rt.mailbox("a", greet), MailboxRef[str, int])
    assert_type(rt.mailbox("b", write), MailboxRef[str, int])
    assert_type(rt.mailbox("c", tick), MailboxRef[None, None])
    assert_type(rt.mailbox("d", Cart, keyed=True), MailboxRef[AddItem | Checkout, str])
    assert_type(rt.mailbox("e", Mailman), MailboxRef[str, bool])
    assert_type(rt.ref(greet), MailboxRef[str, int])
    assert_type(rt.ref(write), MailboxRef[str, int])
    assert_type(rt.ref(tick), MailboxRef[None, None])
    assert_type(rt.ref(Cart, "ada"), MailboxRef[AddItem | Checkout, str])
    assert_type(rt.ref(Mailman), MailboxRef[str, bool])
    assert_type(rt.ref("anything"), MailboxRef[Any, Any])


def a_worker_takes_at_most_a_message_and_its_context() -> None:
    def wants_more(name: str, context: Context, more: int) -> None: ...

    rt.mailbox("more", wants_more)  # type: ignore[arg-type]
    rt.mailbox("none", 3)  # type: ignore[call-overload]
    rt.mailbox("misspelt", greet, worker_count=2)  # type: ignore[call-overload]


# --- sending -----------------------------------------------------------------------------------


def a_message_of_the_wrong_type_is_an_error() -> None:
    assert_type(rt.tell(greet, "ada"), int)
    rt.tell(write, "ada")
    rt.tell(tick)
    rt.tell(Cart, AddItem("tea"), key="ada")
    rt.tell(Mailman, "ada")
    rt.tell("any name", {"any": "message"})

    rt.tell(greet, 3)  # type: ignore[arg-type]
    rt.tell(greet)  # type: ignore[arg-type]
    rt.tell(write, 3)  # type: ignore[arg-type]
    rt.tell(tick, 3)  # type: ignore[arg-type]
    rt.tell(Cart, "tea", key="ada")  # type: ignore[misc]
    rt.tell(Mailman, 3)  # type: ignore[misc]
    rt.tell(3, "ada")  # type: ignore[call-overload]


def an_ask_returns_what_the_handler_returns() -> None:
    assert_type(rt.ask(greet, "ada"), int)
    assert_type(rt.ask(write, "ada", timeout=1.5), int)
    assert_type(rt.ask(tick), None)
    assert_type(rt.ask(Cart, AddItem("tea"), key="ada"), str)
    assert_type(rt.ask(Mailman, "ada"), bool)
    assert_type(rt.ref(Cart, "ada").ask(Checkout()), str)
    rt.ask(greet, 3)  # type: ignore[arg-type]
    rt.ask(greet)  # type: ignore[arg-type]
    rt.ref(Cart, "ada").ask("tea")  # type: ignore[arg-type]


async def from_a_coroutine_it_is_the_same() -> None:
    assert_type(await rt.ask_async(greet, "ada"), int)
    assert_type(await rt.ask_async(write, "ada"), int)
    assert_type(await rt.ask_async(Cart, AddItem("tea"), key="ada"), str)
    assert_type(await rt.tell_async(greet, "ada", after="1h"), int)
    await rt.tell_async(tick)
    await rt.tell_async(greet, 3)  # type: ignore[arg-type]


def many_messages_are_checked_like_one() -> None:
    assert_type(rt.tell_many(greet, ["ada", "bob"]), list[int])
    rt.tell_many(Cart, [AddItem("tea"), Checkout()], key="ada")
    rt.tell_many(greet, (name for name in ["ada"]), after="30m")
    rt.ref(Cart, "ada").tell_many([AddItem("tea"), Checkout()])
    rt.tell_many(greet, [3])  # type: ignore[arg-type]


def a_reference_checks_what_it_is_told(ref: MailboxRef[str, None]) -> None:
    assert_type(ref.tell("ada"), int)
    assert_type(ref.tell_many(["ada"]), list[int])
    assert_type(ref.cancel("name"), bool)
    rt.tell(ref, "ada")
    ref.tell(3)  # type: ignore[arg-type]
    ref.tell_many([3])  # type: ignore[list-item]
    rt.tell(ref, 3)  # type: ignore[misc]


def a_reference_for_more_serves_where_less_is_sent(ref: MailboxRef[str | int, bool]) -> None:
    narrower: MailboxRef[str, object] = ref
    narrower.tell("ada")


def options_are_checked() -> None:
    rt.tell(greet, "ada", after=10, id="name", if_exists="keep")
    rt.tell(greet, "ada", after=timedelta(days=7))
    rt.tell(greet, "ada", after=[10])  # type: ignore[call-overload]
    rt.tell(greet, "ada", if_exists="sometimes")  # type: ignore[call-overload]
    rt.tell(greet, "ada", delay=10)  # type: ignore[call-overload]


def a_transaction_is_one_block() -> None:
    with rt.transaction() as tx:
        assert_type(tx, Transaction)
        assert_type(tx.tell(greet, "ada", after="1h"), int)
        tx.tell(tick)
        tx.tell(Cart, AddItem("tea"), key="ada")
        tx.tell(rt.ref(greet), "ada")
        tx.tell("any name", {"any": "message"})
        tx.tell(greet, 3)  # type: ignore[arg-type]
        tx.tell(greet)  # type: ignore[arg-type]
        tx.tell(Cart, "tea", key="ada")  # type: ignore[misc]
        tx.tell(rt.ref(greet), 3)  # type: ignore[misc]
        tx.execute("UPDATE orders SET paid = 1 WHERE id = :id", {"id": 7}, expect=1)
    assert_type(rt.cancel(greet, "name"), bool)


# --- living and looking ------------------------------------------------------------------------


def the_context_manager_gives_the_runtime() -> None:
    with rt as running:
        assert_type(running, Runtime)


async def so_does_the_asynchronous_one(app: object) -> None:
    async with rt as running:
        assert_type(running, Runtime)
    lifespan: AbstractAsyncContextManager[None] = rt.lifespan(app)
    async with lifespan:
        pass


def records_are_typed_and_frozen() -> None:
    assert_type(rt.mailboxes(), list[MailboxInfo])
    assert_type(rt.timers(greet), list[TimerInfo])
    assert_type(rt.schedules(), list[ScheduleInfo])
    assert_type(rt.peek(greet), list[MessageInfo])
    assert_type(rt.dead(), list[DeadLetter])
    assert_type(rt.find(7), MessageInfo | None)
    assert_type(rt.requeue(7), int)
    rt.dead()[0].error = "none"  # type: ignore[misc]


def events_are_told_to_anything_that_takes_one() -> None:
    def on_event(event: Event) -> None:
        assert_type(event.name, str)

    off = rt.events.subscribe(on_event, "message.")
    off()
    rt.events.subscribe(lambda: None)  # type: ignore[arg-type, misc]
