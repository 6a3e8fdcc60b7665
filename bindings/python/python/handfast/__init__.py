"""Locks, elections and shared state for programs that run on more than one machine.

    import handfast

    with handfast.connect("127.0.0.1:2379") as hf:
        with hf.lock("jobs/nightly", timeout=30) as lock:
            lock.put("jobs/nightly/ran-by", "me")

`handfast.aio` is the same for asyncio.
"""

from . import aio
from ._client import Client, connect
from ._config import Config, ConfigChanges, ConfigEvent, ConfigProblem, Publication
from ._election import Election
from ._held import Held, HeldLock, Term
from ._holding import Busy
from ._lease import Lease
from ._lock import Lock
from ._multi import HeldMultiLock, MultiLock
from ._once import Once, OnceResult
from ._queue import Claim, Queue
from ._queue_types import AckedAndNext, DeadLetter, Pushed, QueueItem, QueueStatus, Reason, Why
from ._server import Server
from ._service import Discovery, Picked, Registration, Service, ServiceChanges
from ._service_types import Instance, RegistrationState, ServiceChange, ServiceList
from ._session import Session, SessionStates
from ._streams import Observer, Watch
from ._txn import Compare, Op
from ._types import (
    CasResult,
    DeleteResult,
    Event,
    KeyValue,
    Leader,
    LeaseInfo,
    LockLine,
    Member,
    PutResult,
    RangeResult,
    SessionState,
    TxnResult,
    Waiting,
)
from .errors import (
    AckLostError,
    ClosedError,
    CompactedError,
    ConfigRefusedError,
    DrainingError,
    DuplicateInstanceError,
    HandfastError,
    InvalidArgumentError,
    KindConflictError,
    LeadershipLostError,
    LockLostError,
    LockTimeoutError,
    NoInstanceError,
    PublishConflictError,
    SessionLostError,
    TimeoutError,
    UnavailableError,
)

__all__ = [
    "AckLostError",
    "AckedAndNext",
    "Busy",
    "CasResult",
    "Claim",
    "Client",
    "ClosedError",
    "CompactedError",
    "Compare",
    "Config",
    "ConfigChanges",
    "ConfigEvent",
    "ConfigProblem",
    "ConfigRefusedError",
    "DeadLetter",
    "DeleteResult",
    "Discovery",
    "DrainingError",
    "DuplicateInstanceError",
    "Election",
    "Event",
    "HandfastError",
    "Held",
    "HeldLock",
    "HeldMultiLock",
    "Instance",
    "InvalidArgumentError",
    "KeyValue",
    "KindConflictError",
    "Leader",
    "LeadershipLostError",
    "Lease",
    "LeaseInfo",
    "Lock",
    "LockLine",
    "LockLostError",
    "LockTimeoutError",
    "Member",
    "MultiLock",
    "NoInstanceError",
    "Observer",
    "Once",
    "OnceResult",
    "Op",
    "Picked",
    "Publication",
    "PublishConflictError",
    "Pushed",
    "PutResult",
    "Queue",
    "QueueItem",
    "QueueStatus",
    "RangeResult",
    "Reason",
    "Registration",
    "RegistrationState",
    "Server",
    "Service",
    "ServiceChange",
    "ServiceChanges",
    "ServiceList",
    "Session",
    "SessionLostError",
    "SessionState",
    "SessionStates",
    "Term",
    "TimeoutError",
    "TxnResult",
    "UnavailableError",
    "Waiting",
    "Watch",
    "Why",
    "aio",
    "connect",
]
