"""Several locks that are held together or not at all, for asyncio."""

from __future__ import annotations

from typing import Any

from .._holding import Busy, LockOptions
from .._multi import busy, joined
from .._requests import Pending, Requests
from ._held import Acquiring, HeldLock


class HeldMultiLock(HeldLock):
    """Several locks that are held until they are released, all at once, or one of them is lost.

    The `token` is good for each name. `died`: the names whose holder before ended without giving
    them back.
    """

    def __init__(self, raw: tuple[Any, ...], cancel_on_lost: bool) -> None:
        native, names, died, *_ = raw
        self.names: tuple[bytes, ...] = tuple(names)
        self.died: tuple[bytes, ...] = tuple(died)
        super().__init__(native, joined(self.names), cancel_on_lost)


class MultiLock(Acquiring[HeldMultiLock]):
    """Several locks by their names; made by `AsyncClient.multi_lock`. Tasks may share it.

    `async with` cancels the body when one of them is lost. Each name is also a lock for others.
    Their order does not matter: there is no deadlock.
    """

    def __init__(
        self,
        requests: Requests,
        names: tuple[bytes, ...],
        options: LockOptions,
        cancel_on_lost: bool,
    ) -> None:
        super().__init__(requests, options, cancel_on_lost)
        self.names = names
        self.name = joined(names)

    async def acquire(self) -> HeldMultiLock:
        """Wait for all. Raises LockTimeoutError, which names who holds one of them.

        Cancelling this leaves all queues for certain.
        """
        call = self._requests.native.multi_lock(list(self.names), self._in_loop())
        make = Pending(call, lambda raw: HeldMultiLock(raw, self._cancel_on_lost))
        return await make.start_holding()

    async def try_acquire(self) -> HeldMultiLock | Busy:
        """Take all if all are free; else a `Busy`, which counts as false, with one's holder."""
        call = self._requests.native.try_multi_lock(list(self.names), self._options)
        tried: Pending[tuple[Any, ...]] = Pending(call, lambda tried: tried)
        raw = await tried.start_holding()
        return HeldMultiLock(raw, self._cancel_on_lost) if raw[0] is not None else busy(raw)
