"""Several locks that are held together or not at all, for programs without asyncio."""

from __future__ import annotations

from typing import Any

from ._held import Acquiring, HeldLock
from ._holding import Busy, LockOptions
from ._requests import Pending, Requests
from ._types import Member


def joined(names: tuple[bytes, ...]) -> bytes:
    """All names as one, for people."""
    return b", ".join(names)


class HeldMultiLock(HeldLock):
    """Several locks that are held until they are released, all at once, or one of them is lost.

    The `token` is good for each name. `died`: the names whose holder before ended without giving
    them back.
    """

    def __init__(self, raw: tuple[Any, ...]) -> None:
        native, names, died, *_ = raw
        self.names: tuple[bytes, ...] = tuple(names)
        self.died: tuple[bytes, ...] = tuple(died)
        super().__init__(native, joined(self.names))


class MultiLock(Acquiring[HeldMultiLock]):
    """Several locks by their names; made by `Client.multi_lock`. Threads may share it.

    Each name is also a lock for others. Their order does not matter: there is no deadlock.
    """

    def __init__(
        self, requests: Requests, names: tuple[bytes, ...], options: LockOptions
    ) -> None:
        super().__init__(requests, options)
        self.names = names
        self.name = joined(names)

    def acquire(self) -> HeldMultiLock:
        """Wait for all. Raises LockTimeoutError, which names who holds one of them."""
        call = self._requests.native.multi_lock(list(self.names), self._options)
        return Pending(call, HeldMultiLock).wait()

    def try_acquire(self) -> HeldMultiLock | Busy:
        """Take all if all are free; else a `Busy`, which counts as false, with one's holder."""
        raw = self._requests.native.try_multi_lock(list(self.names), self._options).wait()
        return HeldMultiLock(raw) if raw[0] is not None else busy(raw)


def busy(raw: tuple[Any, ...]) -> Busy:
    """Which of the names is held, and by whom."""
    *_, holder, name = raw
    return Busy(Member.from_native(holder), name)
