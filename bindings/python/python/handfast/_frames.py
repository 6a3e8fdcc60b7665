"""The frames that the classes of this package have in common.

What leaving a `with` block does, iterating over what a native stream brings, and telling what a
thing is. What the asyncio side has instead of a frame here is in `aio/_frames.py`.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Iterable
from types import TracebackType
from typing import Any, Generic, Protocol, Self, TypeVar

from . import _native
from .errors import HandfastError

T = TypeVar("T")


class Named:
    """Something with a name, which it is told by."""

    name: bytes

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name.decode(errors='replace')!r}>"


class Closing:
    """Leaving a `with` block closes it."""

    def close(self) -> None:
        """Close it."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


class Ending:
    """Leaving a `with` block ends it."""

    def _end(self) -> None:
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # What went wrong first is what the caller has to know.
        with contextlib.suppress(*[HandfastError] if error is not None else []):
            self._end()


class Source(Protocol):
    """A stream of the native module."""

    def next(self, timeout: float | None = None) -> _native.Call: ...
    def close(self) -> None: ...


class Reading(Generic[T]):
    """What a native stream brings, as items; sync or not."""

    def __init__(self, native: Source) -> None:
        self._native = native
        self._ready: deque[T] = deque()

    def _read(self, raw: Any) -> Iterable[T]:
        """The items in what the stream has brought: one at least."""
        raise NotImplementedError


class Stream(Closing, Reading[T]):
    """A plain iterator that can be closed."""

    def _take(self, timeout: float | None = None) -> bool:
        """Whether an item is ready; waits for it."""
        if not self._ready:
            raw = self._native.next(timeout).wait()
            if raw is None:
                return False
            self._ready.extend(self._read(raw))
        return True

    def close(self) -> None:
        """End it, and every wait for its next item. May be called from another thread."""
        self._native.close()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> T:
        if not self._take():
            raise StopIteration
        return self._ready.popleft()


class Items(Stream[T]):
    """An iterator over items of which none is `None`, so that they can be waited for."""

    def next(self, timeout: float | None = None) -> T | None:
        """The next item; `None` when it is closed. Raises TimeoutError after `timeout`."""
        return self._ready.popleft() if self._take(timeout) else None
