"""Future calls: the TimerActor and the part of the timers that is in memory.

A timer is a message that is not yet due. The store holds them all; memory holds the near ones of
each mailbox, and how far it has read. Firing writes nothing: the due message goes to its mailbox,
and the acknowledgement of its turn removes it. After a crash a due row is a waiting row.

Time divides the rows between two owners: what is due at ``upto`` or before belongs to the mailbox's
window, what is due later belongs to its :class:`Near`. So no row is ever handed over twice. (What
is told after the clock was set back may be due before `upto` and not yet: the Near keeps that too.)
"""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING, Any

from ..clock import SECOND
from ..persistence.store import LAST
from .cell import Cell
from .mail import DueNow

if TYPE_CHECKING:
    from ..persistence.store import Message, Place
    from .environment import Environment
    from .mailbox import MailboxActor


#: So many are read at once where none is in memory: each is a page of the file, and meanwhile those
#: wait that have just become due.
_PAGE = 512


class Near:
    """The nearest timers of one mailbox. Pure.

    Everything due after ``upto`` and not beyond ``horizon`` is in the heap; what lies beyond is in
    the store. A horizon of None: nothing lies beyond.

    Args:
        upto: what is due until then belongs to the mailbox.

    """

    def __init__(self, upto: int) -> None:
        """Start with nothing read: all may lie beyond."""
        self.upto = upto
        self.horizon: Place | None = (upto, LAST)
        self._heap: list[tuple[Place, Message]] = []
        self._held: dict[int, Message] = {}

    def __len__(self) -> int:
        """How many are in memory."""
        return len(self._heap)

    def offer(self, message: Message, limit: int) -> None:
        """Take a timer that was told just now, if it is near enough; at most ``limit`` stay."""
        place = message.due_sort
        if self.horizon is not None and place > self.horizon:
            return
        if message.number in self._held:
            return
        self._push(place, message)
        if len(self._heap) > limit:
            keep = heapq.nsmallest(max(1, limit // 2), self._heap)
            self.horizon = keep[-1][0]
            self._heap = keep
            self._held = {m.number: m for _, m in keep}

    def page(self, messages: list[Message], limit: int) -> None:
        """Take what the store holds beyond the horizon, read with that limit."""
        for message in messages:
            if message.number not in self._held:
                self._push(message.due_sort, message)
        self.horizon = messages[-1].due_sort if len(messages) >= limit else None

    def pop(self, now: int) -> tuple[list[Message], bool]:
        """Return what has become due, and whether the store may hold more that has.

        From then on what is due until ``now`` belongs to the mailbox.
        """
        due: list[Message] = []
        while self._heap and self._heap[0][0][0] <= now:
            message = heapq.heappop(self._heap)[1]
            del self._held[message.number]
            if not message.gone:
                due.append(message)
        behind = self.horizon is not None and self.horizon[0] <= now
        self.upto = max(self.upto, now)
        if behind:
            self.horizon = (now, LAST)
        return due, behind

    def drop(self, number: int) -> None:
        """Mark a timer as cancelled or replaced."""
        message = self._held.get(number)
        if message is not None:
            message.gone = True

    @property
    def hungry(self) -> bool:
        """Nothing is in memory while the store may hold more."""
        return not self._heap and self.horizon is not None

    @property
    def next(self) -> int | None:
        """When to look again: the nearest deadline, or where memory ends."""
        nearest = self._heap[0][0][0] if self._heap else None
        if self.horizon is not None and (nearest is None or self.horizon[0] < nearest):
            return self.horizon[0]
        return nearest

    def _push(self, place: Place, message: Message) -> None:
        heapq.heappush(self._heap, (place, message))
        self._held[message.number] = message


class TimerActor(Cell):
    """Holds the near timers of all mailboxes and hands over what becomes due.

    Args:
        environment: store, clock, driver, events.
        supervisor: restarts it; then it reads everything anew.

    """

    def __init__(self, environment: Environment, supervisor: Cell) -> None:
        """Start with no mailbox; see :meth:`attach`."""
        super().__init__(environment.driver, "timers", supervisor)
        self.environment = environment
        self._mailboxes: dict[int, MailboxActor] = {}
        self._near: dict[int, Near] = {}
        self._next: list[tuple[int, int]] = []

    def attach(self, mailbox: MailboxActor) -> None:
        """Serve a mailbox from now on."""
        self.post(("attach", mailbox))

    def later(self, messages: list[Message]) -> None:
        """Take messages with a deadline; they are on disk."""
        self.post(messages)

    def drop(self, mailbox: int, number: int) -> None:
        """Forget a timer that was cancelled or replaced."""
        self.post(("drop", mailbox, number))

    def reload(self) -> None:
        """Begin anew: what is due is read by the mailboxes, the near timers are read here."""
        now = self.environment.clock.now()
        self._next = []
        for number, mailbox in self._mailboxes.items():
            mailbox.post(DueNow([], now, behind=True))
            self._near[number] = Near(now)
            self._arm(number)
        self._fire()

    def on_receive(self, message: Any) -> None:
        """Take new timers or a new mailbox; then fire what is due."""
        match message:
            case list():
                self._take(message)
            case "reload":
                self.reload()
            case ("drop", int(mailbox_id), int(number)):
                if mailbox_id in self._near:
                    self._near[mailbox_id].drop(number)
            case ("attach", mailbox):
                self._mailboxes[mailbox.id] = mailbox
                self._near[mailbox.id] = Near(mailbox.due_upto)
                self._arm(mailbox.id)
        self._fire()

    @property
    def limit(self) -> int:
        """The most timers of one mailbox that are kept in memory."""
        sizes = self.environment.sizes
        return max(sizes.least, sizes.near // max(1, len(self._mailboxes)))

    def _take(self, messages: list[Message]) -> None:
        now, limit = self.environment.clock.now(), self.limit
        armed: dict[int, int | None] = {}
        for message in messages:
            number = message.mailbox
            near = self._near.get(number)
            if near is None or message.gone:
                continue
            if message.due is not None and message.due <= min(near.upto, now):
                self._mailboxes[number].post(DueNow([message], near.upto))
                continue
            if number not in armed:
                armed[number] = near.next
            near.offer(message, limit)
        for number, due in armed.items():
            if self._near[number].next != due:
                self._arm(number)

    def _fire(self) -> None:
        now = self.environment.clock.now()
        while self._next and self._next[0][0] <= now:
            due, number = heapq.heappop(self._next)
            near = self._near[number]
            if near.next != due:
                continue
            messages, behind = near.pop(now)
            self._announce(messages, now)
            if messages or behind:
                self._mailboxes[number].post(DueNow(messages, near.upto, behind=behind))
            if near.hungry:
                limit = max(1, min(_PAGE, self.limit // 2))
                near.page(self.environment.store.timers(number, after=near.horizon, limit=limit),
                          limit)  # fmt: skip
            self._arm(number)
        self.wake_at(self._next[0][0] if self._next else None)

    def _arm(self, number: int) -> None:
        due = self._near[number].next
        if due is not None:
            heapq.heappush(self._next, (due, number))
        if len(self._next) > 64 + 4 * len(self._near):
            self._next = [(n.next, i) for i, n in self._near.items() if n.next is not None]
            heapq.heapify(self._next)

    def _announce(self, messages: list[Message], now: int) -> None:
        events = self.environment.events
        if not events.flow:
            return
        for message in messages:
            mailbox = self._mailboxes[message.mailbox].name
            late = (now - (message.due or now)) / SECOND
            events.emit("timer.fired", mailbox=mailbox, id=message.number, due=message.due,
                        late=late)  # fmt: skip
