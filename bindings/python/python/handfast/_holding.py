"""What holding a lock and leading have in common, sync or not: asking without input or output."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Any, Generic, Literal, TypedDict, TypeVar

from . import _native
from ._requests import Pending, nothing, txn_parts
from ._txn import Compare, Op
from ._types import Member, TxnResult, Waiting, to_bytes
from .errors import LockLostError

H = TypeVar("H")

log = logging.getLogger("handfast.wait")


class LockOptions(TypedDict):
    """How a lock is acquired and held."""

    timeout: float | None
    max_hold: float | None
    beat: float | None
    rejoin: bool
    on_wait: Callable[[tuple[Any, ...]], object] | None


def teller(tell: Callable[[Waiting], object]) -> Callable[[tuple[Any, ...]], None]:
    """Calls `tell` with what the native module says of a wait; what it raises is logged."""

    def told(raw: tuple[Any, ...]) -> None:
        waiting = Waiting.from_native(raw)
        try:
            tell(waiting)
        except Exception:
            log.exception("on_wait failed for %s", waiting.name.decode(errors="replace"))

    return told


def lock_options(
    timeout: float | None,
    max_hold: float | None,
    beat: float | None,
    rejoin: bool,
    on_wait: Callable[[Waiting], object] | None,
) -> LockOptions:
    """The options in the native module's terms."""
    if on_wait is not None and not callable(on_wait):
        raise TypeError(f"on_wait is a function, not {type(on_wait).__name__}")
    return LockOptions(
        timeout=timeout,
        max_hold=max_hold,
        beat=beat,
        rejoin=rejoin,
        on_wait=None if on_wait is None else teller(on_wait),
    )


class Holding:
    """Something that is held until it is given back or lost."""

    def __init__(self, native: _native.Holding, name: bytes) -> None:
        self._native = native
        self.name = name
        self.key = native.key
        self.token = native.token
        self.lease = native.lease
        self.previous_died = native.previous_died

    def __repr__(self) -> str:
        kind, name = type(self).__name__, self.name.decode(errors="replace")
        return f"<{kind} {name!r} token={self.token} remaining={self.remaining():.1f}s>"

    def __bool__(self) -> Literal[True]:
        # Told apart from `Busy`, also by type checkers.
        return True

    def check(self) -> None:
        """Raise LockLostError if it is not held at this instant, by the clock."""
        self._native.check()

    def remaining(self) -> float:
        """Seconds it is held for certain if nothing more is heard; 0 when it is lost."""
        return self._native.remaining()

    @property
    def held(self) -> bool:
        """Whether it is held at this instant, by the clock."""
        return self._loss() is None

    def beat(self) -> None:
        """Report that the work goes on, if it was acquired with `beat`."""
        self._native.beat()

    def _loss(self) -> LockLostError | None:
        try:
            self._native.check()
        except LockLostError as error:
            return error.with_traceback(None)
        return None

    def _true_loss(self) -> LockLostError | None:
        """The loss, if it was not given back."""
        lost = self._loss()
        return None if lost is not None and lost.reason == "released" else lost

    def _release(self) -> Pending[None]:
        return Pending(self._native.release(), nothing)

    def _proclaim(self, value: str | bytes) -> Pending[None]:
        return Pending(self._native.proclaim(to_bytes(value, "value")), nothing)

    def _txn(
        self, when: Iterable[Compare], then: Iterable[Op], otherwise: Iterable[Op]
    ) -> Pending[TxnResult]:
        call = self._native.txn(*txn_parts(when, then, otherwise))
        return Pending(call, TxnResult.from_native)


class Busy:
    """What a try comes to when somebody else holds the lock. Counts as false."""

    __slots__ = ("holder", "name")

    def __init__(self, holder: Member, name: bytes) -> None:
        self.holder = holder
        self.name = name

    def __bool__(self) -> Literal[False]:
        return False

    def __repr__(self) -> str:
        name = self.name.decode(errors="replace")
        return f"<Busy: {name} is held by {self.holder}>"


class Entered(Generic[H]):
    """What was entered with one lock object, by several threads or tasks at once."""

    def __init__(self) -> None:
        self._entries: list[tuple[object, H]] = []

    def push(self, owner: object, held: H) -> None:
        """Remember what `owner` holds."""
        self._entries.append((owner, held))

    def pop(self, owner: object) -> H:
        """Forget the last that `owner` has entered, or, if it moved, the last of anybody."""
        own = [entry for entry in self._entries if entry[0] is owner]
        entry = own[-1] if own else self._entries[-1]
        self._entries.remove(entry)
        return entry[1]
