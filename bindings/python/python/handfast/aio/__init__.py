"""handfast for asyncio.

    from handfast import aio

    async with aio.connect("127.0.0.1:2379") as hf:
        async with hf.lock("jobs/nightly", timeout=30) as lock:
            await lock.put("jobs/nightly/ran-by", "me")
"""

from ._client import AsyncClient, Lease, connect
from ._config import Config, ConfigChanges, ConfigOpening
from ._election import Election
from ._held import Held, HeldLock, Term
from ._lock import Lock
from ._multi import HeldMultiLock, MultiLock
from ._once import Once
from ._queue import Claim, Queue
from ._service import Discovery, Registration, Service, ServiceChanges
from ._session import Session, SessionStates
from ._streams import Observer, Watch

__all__ = [
    "AsyncClient",
    "Claim",
    "Config",
    "ConfigChanges",
    "ConfigOpening",
    "Discovery",
    "Election",
    "Held",
    "HeldLock",
    "HeldMultiLock",
    "Lease",
    "Lock",
    "MultiLock",
    "Observer",
    "Once",
    "Queue",
    "Registration",
    "Service",
    "ServiceChanges",
    "Session",
    "SessionStates",
    "Term",
    "Watch",
    "connect",
]
