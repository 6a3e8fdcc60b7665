"""Locks, elections and shared state for programs that run on more than one machine.

    import handfast

    with handfast.connect("127.0.0.1:2379") as hf:
        with hf.lock("jobs/nightly", timeout=30) as lock:
            lock.put("jobs/nightly/ran-by", "me")

`handfast.aio` is the same for asyncio.
"""

from . import aio
from ._client import Client, connect
from ._election import Election
from ._held import HeldLock, Term
from ._holding import Busy
from ._lease import Lease
from ._lock import Lock
from ._server import Server
from ._streams import Observer, Watch
from ._txn import Compare, Op
from ._types import (
    DeleteResult,
    Event,
    KeyValue,
    Leader,
    LeaseInfo,
    Member,
    PutResult,
    Queue,
    RangeResult,
    TxnResult,
)
from .errors import (
    ClosedError,
    CompactedError,
    HandfastError,
    InvalidArgumentError,
    KindConflictError,
    LeadershipLostError,
    LockLostError,
    LockTimeoutError,
    SessionLostError,
    TimeoutError,
    UnavailableError,
)

__all__ = [
    "Busy",
    "Client",
    "ClosedError",
    "CompactedError",
    "Compare",
    "DeleteResult",
    "Election",
    "Event",
    "HandfastError",
    "HeldLock",
    "InvalidArgumentError",
    "KeyValue",
    "KindConflictError",
    "Leader",
    "LeadershipLostError",
    "Lease",
    "LeaseInfo",
    "Lock",
    "LockLostError",
    "LockTimeoutError",
    "Member",
    "Observer",
    "Op",
    "PutResult",
    "Queue",
    "RangeResult",
    "Server",
    "SessionLostError",
    "Term",
    "TimeoutError",
    "TxnResult",
    "UnavailableError",
    "Watch",
    "aio",
    "connect",
]
