"""Locks, for programs without asyncio."""

from __future__ import annotations


from ._held import Acquiring, HeldLock
from ._holding import Busy, LockOptions
from ._requests import Pending, Requests
from ._types import LockLine, Member


class Lock(Acquiring[HeldLock]):
    """A lock by its name; made by `Client.lock`. Threads may share it: each entry is a holder.

    Works together with etcdctl's locks and Go's `concurrency.Mutex` on the same name.
    """

    def __init__(self, requests: Requests, name: bytes, options: LockOptions) -> None:
        super().__init__(requests, options)
        self.name = name

    def acquire(self) -> HeldLock:
        """Wait for it. Raises LockTimeoutError, which names the holder."""
        call = self._requests.native.lock(self.name, self._options)
        return Pending(call, lambda native: HeldLock(native, self.name)).wait()

    def try_acquire(self) -> HeldLock | Busy:
        """Take it if it is free; else a `Busy`, which counts as false and names the holder."""
        native, holder = self._requests.native.try_lock(self.name, self._options).wait()
        if native is None:
            return Busy(Member.from_native(holder), self.name)
        return HeldLock(native, self.name)

    def line(self) -> LockLine:
        """Who holds it and who waits for it."""
        return self._requests.lock_queue(self.name).wait()

    def holder(self) -> Member | None:
        """Who holds it."""
        return self.line().holder

    def break_holder(self, why: str) -> Member | None:
        """Take it away from its holder, who learns why; returns who that was."""
        return self._requests.break_lock(self.name, why).wait()
