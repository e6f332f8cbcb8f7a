"""The window: the part of a mailbox that is in memory. Pure: no store, no time, no threads.

A backlog of ten million costs the memory of ten. The window holds the first messages of two lanes,
the *due* (future calls and retries whose time has come, by (due, number)) and the *waiting* (by
(priority, number)); the rest stays in the store and is paged in. For each lane it knows how far it
has seen: everything up to ``tail`` is loaded, in hand or done, and beyond it there is nothing when
``complete``.

Of one key at most 32 are loaded, so that a hundred thousand messages of one key keep nobody else
waiting: a key with more in the store is *behind*, is skipped when pages are read, and gets pages of
its own. A key that is blocked (it waits for a retry, or is faulted) has nothing loaded at all.

What is not in the store (an ask; its number is negative) cannot be read again: it is *parked* until
all that sorts before it of its key has been seen, and again whenever its key goes out of memory.

What is *held* is loaded or in hand until its turn is settled; what is held is never loaded twice.
A page is read outside the lock: what was settled or cancelled meanwhile is not taken from it.
"""

from __future__ import annotations

from bisect import insort
from collections import deque
from functools import partial
from itertools import islice
from operator import attrgetter, lt
from typing import TYPE_CHECKING

import msgspec

from .sizes import PER_KEY, WINDOW

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import TypeAlias

    from ..persistence.store import Message, Place

    Queue: TypeAlias = deque[Message] | list[Message]

#: A key that is behind gets its next page when so few of it are left.
_LOW_KEY = 8
#: Of so many keys pages of their own are read because something parked waits for them.
_MOST_PARKED = 1000
#: With so many keys blocked at once no more pages are read: memory stays bounded.
MOST_BLOCKED = 10_000


class Page(msgspec.Struct, frozen=True):
    """A request: read so many rows of a lane beyond ``after``; of one key, or of all but some."""

    due: bool
    after: Place | None
    limit: int
    key: str | None = None
    skip: tuple[str, ...] = ()


class Lane:
    """How far one lane has been seen."""

    __slots__ = ("behind", "complete", "due", "missed", "place", "tail")

    def __init__(self, *, due: bool) -> None:
        """Nothing has been seen yet: everything may be in the store."""
        self.due = due
        #: Returns a message's place in this lane.
        self.place: Callable[[Message], Place] = attrgetter("due_sort" if due else "sort")
        self.tail: Place | None = None
        self.complete = False
        # The first place that was left in the store since the last page was asked for: the page may
        # have been read before that was committed. So a short page does not mean that there is no
        # more, and what comes next begins there, if it sorts before the page's last.
        self.missed: Place | None = None
        # Keys with rows in the store that are not loaded, and how far each is loaded.
        self.behind: dict[str, Place | None] = {}

    def order(self, message: Message) -> tuple[Place, bool]:
        """Return what a queue is sorted by: an ask stands behind the message that it has seen."""
        return self.place(message), message.number < 0

    def has_seen(self, message: Message, key: str | None) -> bool:
        """Say whether a message's place has been read."""
        behind = key is not None and key in self.behind
        if self.complete and not behind:
            return True
        seen = self.behind[key] if key is not None and behind else self.tail
        return seen is not None and self.place(message) <= seen

    def paged(self, key: str | None, *, ended: bool) -> None:
        """Note that a page has been taken, and whether it was the last."""
        seen = self.tail if key is None else self.behind.get(key)
        if self.missed is not None and seen is not None and self.missed <= seen:
            seen = _before(self.missed)
        if key is None:
            self.tail, self.complete = seen, ended and self.missed is None
        elif ended and self.missed is None:
            self.behind.pop(key, None)
        elif key in self.behind:
            self.behind[key] = seen


class Key:
    """What is loaded of one actor, and whether it may run now.

    A key comes and goes with every message or two, and little of it is loaded at once: so its lanes
    are lists, a tenth of a deque in size and time. What has no keys may be long, and is a deque.
    """

    __slots__ = ("blocked", "busy", "due", "name", "queued", "waiting")

    def __init__(self, name: str | None) -> None:
        """Start with nothing loaded."""
        self.name = name
        self.due: Queue = deque() if name is None else []
        self.waiting: Queue = deque() if name is None else []
        self.busy = False
        self.blocked = False
        self.queued = False

    def lane(self, *, due: bool) -> Queue:
        """Return the loaded part of one lane."""
        return self.due if due else self.waiting


class Window:
    """See the module. Not thread-safe: the mailbox's lock guards it.

    Args:
        keyed: keep each key's order and run one of it at a time.
        exclusive: without keys: run one at a time all the same (one actor with state).
        size: how many are loaded at the most.
        per_key: how many of one key.

    """

    def __init__(
        self, *, keyed: bool, exclusive: bool = False, size: int = WINDOW, per_key: int = PER_KEY
    ) -> None:
        """Start with nothing seen."""
        self.keyed = keyed
        self.size = size
        self.per_key = per_key
        self._low_key = min(_LOW_KEY, per_key - 1)
        self.held: dict[int, Message] = {}
        self.loaded = 0
        self.due = Lane(due=True)
        self.waiting = Lane(due=False)
        self.blocked: set[str | None] = set()
        self.hungry = True
        self.exclusive = keyed or exclusive
        self._parked: dict[str | None, list[Message]] = {}
        self._keys: dict[str | None, Key] = {}
        self._ready: deque[Key] = deque()
        # What was settled or cancelled while a page is read: the page may still hold its row.
        self._gone: set[int] | None = None
        # A page is wanted as soon as there is room for it.
        self._full = False

    # --- in ----------------------------------------------------------------------------------

    def offer(self, message: Message, *, due: bool) -> bool:
        """Take a message that has just been told, or has become due; False: it stays in the store.

        It is taken when nothing in the store sorts before it, or when it sorts before what has been
        seen: then it would never be paged in.
        """
        lane = self.due if due else self.waiting
        if message.number in self.held:
            return True
        place = message.due_sort if due else message.sort
        seen = lane.complete or (lane.tail is not None and place <= lane.tail)
        if (self.keyed and self._left_behind(lane, message)) or not seen:
            taken = False
        elif self.loaded >= self.size:
            lane.complete = taken = False
            lane.tail = _before(place)
        else:
            taken = True
            self._load(lane, message)
        if not taken and (lane.missed is None or place < lane.missed):
            lane.missed = place
        return taken

    def offer_all(self, messages: Sequence[Message], *, due: bool) -> None:
        """Offer each of them: in few steps for all, where they stand in their order."""
        lane = self.due if due else self.waiting
        if self.keyed or not messages or not self._offer_run(lane, messages):
            for message in messages:
                self.offer(message, due=due)

    def park(self, message: Message) -> None:
        """Take what is not in the store; it runs after all of its key that sorts before it."""
        name = message.key if self.keyed else None
        if (
            name not in self._parked
            and name not in self.blocked
            and self.waiting.has_seen(message, name)
        ):
            self._load(self.waiting, message)
            return
        insort(self._parked.setdefault(name, []), message, key=self.waiting.place)
        self._let_in(name)
        if name in self._parked:
            self._hurry(name)

    def withdraw(self, message: Message) -> None:
        """Forget what was parked, loaded or not: its asker waits no more."""
        message.gone = True
        name = message.key if self.keyed else None
        parked = [each for each in self._parked.pop(name, ()) if each is not message]
        if parked:
            self._parked[name] = parked
        key = self._keys.get(name)
        if key is None or not any(each is message for each in key.waiting):
            return
        left = [each for each in key.waiting if each is not message]
        key.waiting.clear()
        key.waiting.extend(left)
        self.held.pop(message.number, None)
        self.loaded -= 1
        self._notice(key)
        self._forget(key)

    def flood(self, last: Place) -> None:
        """Note that the store holds waiting messages beyond ``last`` that were not offered."""
        if self.waiting.complete:
            self.waiting.complete = False
            self.waiting.tail = last
        self.hungry = True

    def due_in_store(self) -> None:
        """Note that the store holds due messages that were not offered."""
        if self.due.complete:
            self.due.complete = False
            self.due.tail = None
        self.hungry = True

    # --- out ---------------------------------------------------------------------------------

    def take(self) -> Message | None:
        """Return the next message that may run; its key is busy until :meth:`finished`."""
        while self._ready:
            key = self._ready[0]
            queue = key.due or key.waiting
            if not queue or key.blocked or (key.busy and self.exclusive):
                self._ready.popleft()
                key.queued = False
                if not self.exclusive:
                    self._forget(key)
                continue
            message = queue[0]
            del queue[0]
            self.loaded -= 1
            self._notice(key)
            if self.exclusive:
                self._ready.popleft()
                key.queued = False
                key.busy = True
            if message.gone:
                self.held.pop(message.number, None)
                self.finished(message)
                continue
            return message
        return None

    def upcoming(self, limit: int) -> list[Message]:
        """Return loaded due messages that are likely to be taken next."""
        if self.keyed:
            return [key.due[0] for key in islice(self._ready, limit) if key.due]
        key = self._keys.get(None)
        return [] if key is None else list(islice(key.due, limit))

    @property
    def ready(self) -> int:
        """How many workers could find something to do now."""
        return len(self._ready) if self.exclusive else (self.loaded if self._ready else 0)

    def finished(self, message: Message) -> None:
        """Let the next message of the key run; nothing where several of a key may run at once."""
        key = self._keys.get(message.key if self.keyed else None)
        if key is not None:
            key.busy = False
            self._queue(key)
            self._forget(key)

    def settled(self, *messages: Message) -> None:
        """Stop holding messages: their turns have been committed, or they are gone."""
        held = self.held
        for message in messages:
            held.pop(message.number, None)
        if self._gone is not None:
            self._gone.update([message.number for message in messages])

    def again(self, message: Message) -> None:
        """Put a message back in its place: its turn did not happen."""
        if message.number < 0:
            self.held.pop(message.number, None)
            self.park(message)
            return
        key = self._key(message)
        if key.blocked:
            self.held.pop(message.number, None)
            return
        lane = self.due if message.due is not None else self.waiting
        queue = key.lane(due=lane.due)
        if not queue and not lane.has_seen(message, key.name):
            # Since a reset others of its key may come before it: it is read again, in its order.
            self.held.pop(message.number, None)
            self.hungry = True
            self._forget(key)
            return
        self.held[message.number] = message
        insort(queue, message, key=lane.order)
        self.loaded += 1
        self._queue(key)

    def take_out(self, message: Message) -> bool:
        """Let go of a message that waits, in memory or in the store; False: it is in hand."""
        held = self.held.get(message.number)
        if held is not None:
            key = self._keys.get(message.key if self.keyed else None)
            queue = None if key is None else key.lane(due=held.due is not None)
            if key is None or queue is None or held not in queue:
                return False
            queue.remove(held)
            self.loaded -= 1
            del self.held[message.number]
            self._notice(key)
            self._forget(key)
        if self._gone is not None:
            self._gone.add(message.number)
        return True

    def drop(self, number: int) -> bool:
        """Mark a message as cancelled; it will not be handed out. False: it is not held."""
        if self._gone is not None:
            self._gone.add(number)
        message = self.held.get(number)
        if message is None:
            return False
        message.gone = True
        return True

    # --- blocking ----------------------------------------------------------------------------

    def block(self, name: str | None) -> None:
        """Run nothing of a key until :meth:`unblock`; what is loaded of it goes out of memory."""
        key = self._keys.setdefault(name, Key(name))
        if key.blocked:
            return
        key.blocked = True
        self.blocked.add(name)
        for lane in (self.due, self.waiting):
            queue = key.lane(due=lane.due)
            for message in queue:
                self.held.pop(message.number, None)
            self.loaded -= len(queue)
            self._keep_parked(name, queue)
            queue.clear()
            if name is not None:
                lane.behind.pop(name, None)
            else:
                lane.complete, lane.tail = False, None
        self.hungry = True  # there is room now, and perhaps nothing left to be taken

    def unblock(self, name: str | None) -> None:
        """Let a key run again; its messages are paged in."""
        key = self._keys.get(name)
        if key is not None and key.blocked:
            key.blocked = False
            self.blocked.discard(name)
            if name is not None:
                self.due.behind[name] = self.waiting.behind[name] = None
            self.hungry = True
            self._forget(key)

    def is_blocked(self, name: str | None) -> bool:
        """Say whether a key is blocked."""
        key = self._keys.get(name)
        return key is not None and key.blocked

    def idle(self, name: str | None) -> bool:
        """Say whether nothing of a key is loaded or running."""
        key = self._keys.get(name)
        return key is None or not (key.busy or key.blocked or key.due or key.waiting)

    # --- paging ------------------------------------------------------------------------------

    def pages(self) -> Page | None:
        """Return the next page to read; None: there is nothing to read, or no room for it.

        :attr:`hungry` says whether it is worth asking.
        """
        page = self._next_page()
        self._full = page is not None and self.loaded >= self.size
        if page is None or self._full:
            self.hungry, self._gone = False, None
            return None
        (self.due if page.due else self.waiting).missed = None
        self._gone = set()
        return page

    def _next_page(self) -> Page | None:
        for lane in (self.due, self.waiting):
            for name, loaded in lane.behind.items():
                key = self._keys.get(name)
                if key is None or len(key.lane(due=lane.due)) <= self._low_key:
                    return Page(lane.due, loaded, self.per_key, key=name)
        if None in self.blocked or len(self.blocked) >= MOST_BLOCKED:
            return None
        if self.loaded > self.size // 2:
            return None
        for lane in (self.due, self.waiting):
            if not lane.complete:
                skip = (*lane.behind, *(name for name in self.blocked if name is not None))
                return Page(lane.due, lane.tail, self.size - self.loaded, skip=skip)
        return None

    def paged(
        self,
        page: Page,
        messages: Iterable[Message],
        knows: Callable[[Message], bool] = lambda _: True,
        must_wait: Callable[[Message], int | None] = lambda _: None,
    ) -> list[tuple[str | None, int]]:
        """Take what a page has brought.

        Args:
            page: as :meth:`pages` gave it.
            messages: the rows, in order.
            knows: says whether the running code can decode one; the others stay in the store.
            must_wait: returns until when a message keeps its key waiting.

        Returns:
            keys that are blocked now, and until when.

        """
        lane = self.due if page.due else self.waiting
        gone, self._gone = self._gone or set(), None
        if page.key in self.blocked:
            return []  # blocked while it was read: its pages are read when it is unblocked
        count = 0
        fresh: list[Message] = []
        # How many of a key are loaded decides on its next one; all else is loaded together.
        load = partial(self._load, lane) if self.keyed else fresh.append
        blocked: list[tuple[str | None, int]] = []
        for message in messages:
            count += 1
            place = lane.place(message)
            if page.key is not None:
                lane.behind[page.key] = place
            else:
                lane.tail = place
                if self.keyed and self._left_behind(lane, message):
                    continue
            if message.number in self.held or message.number in gone or not knows(message):
                continue
            until = must_wait(message)
            if until is not None:
                name = message.key if self.keyed else None
                self.block(name)
                blocked.append((name, until))
                if page.key is not None or name is None:
                    return blocked  # what is read of it will be read again from the start
                continue
            load(message)
        self._load_run(lane, fresh)
        lane.paged(page.key, ended=count < page.limit)
        if self._parked and not page.due:
            read = page.key is not None and page.key not in lane.behind
            for name in [page.key] if page.key is not None else list(self._parked):
                self._let_in(name, all_read=read)
        return blocked

    def reset(self) -> None:
        """Forget everything but what is in hand: the mailbox reads its window anew."""
        loaded = {m.number for key in self._keys.values() for m in (*key.due, *key.waiting)}
        for number in loaded:
            self.held.pop(number, None)
        busy = {name: key for name, key in self._keys.items() if key.busy or key.blocked}
        for key in self._keys.values():
            self._keep_parked(key.name, key.waiting)
        for key in busy.values():
            key.due.clear()
            key.waiting.clear()
            key.queued = False
        self._keys = busy
        self._ready.clear()
        self.loaded = 0
        self.hungry, self._full, self._gone = True, False, None
        self.due, self.waiting = Lane(due=True), Lane(due=False)

    # --- inside ------------------------------------------------------------------------------

    def _let_in(self, name: str | None, *, all_read: bool = False) -> None:
        """Load what is parked of a key, as far as all that sorts before it has been seen."""
        key = self._keys.get(name)
        parked = self._parked.get(name)
        if parked is None or (key is not None and key.blocked):
            return
        # What is loaded of one key is loaded in order: what sorts before the last of it was seen.
        seen = key.waiting[-1].sort if key is not None and key.waiting else None
        while parked and (
            all_read
            or self.waiting.has_seen(parked[0], name)
            or (seen is not None and parked[0].sort <= seen)
        ):
            self._load(self.waiting, parked.pop(0))
        if not parked:
            del self._parked[name]

    def _keep_parked(self, name: str | None, queue: Iterable[Message]) -> None:
        """Keep what is not in the store of a queue that goes out of memory."""
        kept = [message for message in queue if message.number < 0]
        if kept:
            self._parked[name] = kept + self._parked.get(name, [])

    def _hurry(self, name: str | None) -> None:
        """Have pages of one key read: something parked waits for it, behind everybody's backlog."""
        behind = self.waiting.behind
        if name is None or name in self.blocked or len(behind) >= _MOST_PARKED:
            return
        behind.setdefault(name, self.waiting.tail)
        self.hungry = True

    def _key(self, message: Message) -> Key:
        name = message.key if self.keyed else None
        key = self._keys.get(name)
        if key is None:
            key = self._keys[name] = Key(name)
        return key

    def _left_behind(self, lane: Lane, message: Message) -> bool:
        """Say whether a message stays in the store because of its key."""
        if message.key is None:
            return False
        if message.key in lane.behind:
            place, loaded = lane.place(message), lane.behind[message.key]
            if loaded is not None and place <= loaded:
                lane.behind[message.key] = _before(place)
            return True
        if message.key in self.blocked:
            return True
        key = self._keys.get(message.key)
        if key is None or len(key.lane(due=lane.due)) < self.per_key:
            return False
        last = lane.place(key.lane(due=lane.due)[-1])
        start = min(last, _before(lane.place(message)))
        if lane.complete:
            lane.behind[message.key] = start
        else:  # beyond the tail not all of it need be loaded
            lane.behind[message.key] = None if lane.tail is None else min(start, lane.tail)
        return True

    def _load(self, lane: Lane, message: Message) -> None:
        key = self._key(message)
        queue = key.due if lane.due else key.waiting
        if queue and (queue[-1].number < 0 or lane.place(queue[-1]) > lane.place(message)):
            insort(queue, message, key=lane.order)
        else:
            queue.append(message)
        self.held[message.number] = message
        self.loaded += 1
        self._queue(key)

    def _offer_run(self, lane: Lane, messages: Sequence[Message]) -> bool:
        """Offer what stands in the lane's order, without keys; False: one by one, it does not."""
        places = list(map(lane.place, messages))
        in_order = all(map(lt, places, places[1:]))
        if not (in_order and self.held.keys().isdisjoint(map(_number, messages))):
            return False
        if lane.complete:
            room = max(0, self.size - self.loaded)
            self._load_run(lane, messages[:room])
            left = places[room:]
            if left:
                lane.complete, lane.tail = False, _before(left[0])
        elif lane.tail is None or places[0] > lane.tail:
            left = places
        else:
            return False
        if left and (lane.missed is None or left[0] < lane.missed):
            lane.missed = left[0]
        return True

    def _load_run(self, lane: Lane, messages: Sequence[Message]) -> None:
        """Load what stands in the lane's order, all of one key."""
        if not messages:
            return
        key = self._key(messages[0])
        queue = key.due if lane.due else key.waiting
        if queue and (queue[-1].number < 0 or lane.place(queue[-1]) > lane.place(messages[0])):
            for message in messages:
                self._load(lane, message)
            return
        queue.extend(messages)
        self.held.update(zip(map(_number, messages), messages, strict=True))
        self.loaded += len(messages)
        self._queue(key)

    def _notice(self, key: Key) -> None:
        """Get hungry when a key, or the window, runs low while the store holds more."""
        if self.hungry:
            return
        if self._full and self.loaded < self.size:
            self.hungry = True
        for lane in (self.due, self.waiting):
            if not lane.complete and self.loaded <= self.size // 2:
                self.hungry = True
            behind = lane.behind
            if behind and key.name in behind and len(key.lane(due=lane.due)) <= self._low_key:
                self.hungry = True

    def _queue(self, key: Key) -> None:
        if key.queued or key.blocked or (key.busy and self.exclusive):
            return
        if key.due or key.waiting:
            key.queued = True
            self._ready.append(key)

    def _forget(self, key: Key) -> None:
        if key.name is None or key.busy or key.blocked or key.due or key.waiting:
            return  # where there are no keys, the one that stands for all is kept
        if self._keys.get(key.name) is key:  # another one may have come since
            del self._keys[key.name]
            key.queued = False


_number: Callable[[Message], int] = attrgetter("number")


def _before(place: Place) -> Place:
    """Return the place just before one: what is read after it begins with that."""
    return place[0], place[1] - 1
