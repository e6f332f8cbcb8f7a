"""callboard: an actor-model runtime with durable timers, embedded in your own process.

The map, imports going down only::

    repl/         what pokes it: the command line
    runtime/      what runs it: Runtime, roles, the owner's socket, testing
    actors/       what lives: mailboxes, workers, timers, supervision, on pykka
    persistence/  what survives: the store, the write gate, the group committer
    (leaves)      errors, clock, events
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .actors.messages import message as message
from .actors.messages import upcast as upcast
from .actors.retry import RetryPolicy as RetryPolicy
from .actors.ticks import Tick as Tick
from .actors.turn import Context as Context
from .actors.worker import WorkerActor as WorkerActor
from .clock import ManualClock as ManualClock
from .errors import ActorStopped as ActorStopped
from .errors import AlreadyTold as AlreadyTold
from .errors import AskDeadlock as AskDeadlock
from .errors import AskTimeout as AskTimeout
from .errors import BadSchedule as BadSchedule
from .errors import CallboardError as CallboardError
from .errors import ConfigError as ConfigError
from .errors import HandlerTimeout as HandlerTimeout
from .errors import MailboxFull as MailboxFull
from .errors import MailboxNotFound as MailboxNotFound
from .errors import MessageError as MessageError
from .errors import NotStarted as NotStarted
from .errors import Reject as Reject
from .errors import RemoteError as RemoteError
from .errors import RetryLater as RetryLater
from .errors import SchemaTooNew as SchemaTooNew
from .errors import StoreBusy as StoreBusy
from .errors import StoreError as StoreError
from .errors import StoreFull as StoreFull
from .errors import StoreGone as StoreGone
from .errors import StoreOwned as StoreOwned
from .errors import TurnEnded as TurnEnded
from .events import Event as Event
from .runtime.feed import Feed as Feed
from .runtime.mailbox_ref import MailboxRef as MailboxRef
from .runtime.runtime import Runtime as Runtime
from .runtime.supervisor_ref import SupervisorRef as SupervisorRef
from .runtime.transaction import Transaction as Transaction

if TYPE_CHECKING:
    from .runtime.records import ActorDetail as ActorDetail
    from .runtime.records import ActorInfo as ActorInfo
    from .runtime.records import AuditInfo as AuditInfo
    from .runtime.records import CauseInfo as CauseInfo
    from .runtime.records import DeadLetter as DeadLetter
    from .runtime.records import EffectInfo as EffectInfo
    from .runtime.records import Finding as Finding
    from .runtime.records import MailboxInfo as MailboxInfo
    from .runtime.records import MessageInfo as MessageInfo
    from .runtime.records import ScheduleInfo as ScheduleInfo
    from .runtime.records import Simulation as Simulation
    from .runtime.records import Stats as Stats
    from .runtime.records import TimerInfo as TimerInfo

__version__ = "0.1.0"

__all__ = [
    "ActorDetail", "ActorInfo", "ActorStopped", "AlreadyTold", "AskDeadlock", "AskTimeout",
    "AuditInfo", "BadSchedule", "CallboardError", "CauseInfo", "ConfigError", "Context",
    "DeadLetter", "EffectInfo", "Event", "Feed", "Finding", "HandlerTimeout",
    "MailboxFull", "MailboxInfo", "MailboxNotFound", "MailboxRef", "ManualClock", "MessageError",
    "MessageInfo", "NotStarted", "Reject", "RemoteError", "RetryLater", "RetryPolicy", "Runtime",
    "ScheduleInfo", "SchemaTooNew", "Simulation", "Stats", "StoreBusy", "StoreError", "StoreFull",
    "StoreGone", "StoreOwned", "SupervisorRef", "Tick", "TimerInfo", "Transaction", "TurnEnded",
    "WorkerActor", "__version__", "message", "upcast",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    """Import what looking at a store returns with its first use, which spares a start 8 ms."""
    if name in __all__:
        from .runtime import records

        return getattr(records, name)
    msg = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(msg)


def __dir__() -> list[str]:
    return sorted(__all__)
