"""Locks, for asyncio."""

from __future__ import annotations

from typing import Any

from .._holding import Busy, LockOptions
from .._requests import Pending, Requests
from .._types import LockLine, Member
from ._held import Acquiring, HeldLock


class Lock(Acquiring[HeldLock]):
    """A lock by its name; made by `AsyncClient.lock`. Tasks may share it: each entry is a holder.

    `async with` cancels the body when the lock is lost, and raises LockLostError. Awaiting it
    gives a HeldLock, to be released by hand. Works together with etcdctl's locks and Go's
    `concurrency.Mutex` on the same name.
    """

    def __init__(
        self, requests: Requests, name: bytes, options: LockOptions, cancel_on_lost: bool
    ) -> None:
        super().__init__(requests, options, cancel_on_lost)
        self.name = name

    async def acquire(self) -> HeldLock:
        """Wait for it. Raises LockTimeoutError, which names the holder.

        Cancelling this leaves the queue for certain.
        """
        call = self._requests.native.lock(self.name, self._in_loop())
        make = Pending(call, lambda native: HeldLock(native, self.name, self._cancel_on_lost))
        return await make.start_holding()

    async def try_acquire(self) -> HeldLock | Busy:
        """Take it if it is free; else a `Busy`, which counts as false and names the holder."""
        call = self._requests.native.try_lock(self.name, self._options)
        tried: Pending[tuple[Any, Any]] = Pending(call, lambda tried: tried)
        native, holder = await tried.start_holding()
        if native is None:
            return Busy(Member.from_native(holder), self.name)
        return HeldLock(native, self.name, self._cancel_on_lost)

    async def line(self) -> LockLine:
        """Who holds it and who waits for it."""
        return await self._requests.lock_queue(self.name).start()

    async def holder(self) -> Member | None:
        """Who holds it."""
        return (await self.line()).holder

    async def break_holder(self, why: str) -> Member | None:
        """Take it away from its holder, who learns why; returns who that was."""
        return await self._requests.break_lock(self.name, why).start()
