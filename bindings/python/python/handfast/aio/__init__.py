"""handfast for asyncio.

    from handfast import aio

    async with aio.connect("127.0.0.1:2379") as hf:
        async with hf.lock("jobs/nightly", timeout=30) as lock:
            await lock.put("jobs/nightly/ran-by", "me")
"""

from ._client import AsyncClient, Lease, connect
from ._election import Election
from ._held import HeldLock, Term
from ._lock import Lock
from ._streams import Observer, Watch

__all__ = [
    "AsyncClient",
    "Election",
    "HeldLock",
    "Lease",
    "Lock",
    "Observer",
    "Term",
    "Watch",
    "connect",
]
