"""The frames of the asyncio side: async iterators, and what `async with` opens and closes."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine, Generator
from types import TracebackType
from typing import Any, Generic, Protocol, Self, TypeVar

from .._frames import Reading, Source
from ..errors import HandfastError

T = TypeVar("T")


class Stream(Reading[T]):
    """An async iterator that can be closed, and loses nothing when a wait is cancelled."""

    def __init__(self, native: Source) -> None:
        super().__init__(native)
        self._coming: asyncio.Future[Any] | None = None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        if not self._ready:
            if self._coming is None or self._coming.cancelled():
                self._coming = self._native.next().start()
            # An item that arrives while the caller is cancelled stays here for the next call.
            raw = await asyncio.shield(self._coming)
            self._coming = None
            if raw is None:
                raise StopAsyncIteration
            self._ready.extend(self._read(raw))
        return self._ready.popleft()

    async def close(self) -> None:
        """End it, and the wait of whoever waits for its next item."""
        self._native.close()


class Opening(Generic[T]):
    """Not there yet: awaiting it gives the thing; `async with` also closes it."""

    def __init__(
        self,
        make: Callable[[], Coroutine[Any, Any, T]],
        close: Callable[[T, BaseException | None], Awaitable[None]],
    ) -> None:
        self._make = make
        self._close = close
        self._made: T | None = None

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: await it, or use `async with`>"

    def __await__(self) -> Generator[Any, None, T]:
        return self._make().__await__()

    async def __aenter__(self) -> T:
        if self._made is not None:
            raise RuntimeError("this was entered before; make another one")
        self._made = await self._make()
        return self._made

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        made, self._made = self._made, None
        if made is not None:
            await self._close(made, error)


class Closable(Protocol):
    """Something that can be closed."""

    async def close(self) -> None: ...


C = TypeVar("C", bound=Closable)


async def close(made: Closable, error: BaseException | None) -> None:
    """The end of what is closed, whatever the body has come to."""
    await made.close()


def closing(make: Callable[[], Coroutine[Any, Any, C]]) -> Opening[C]:
    """What `make` gives; it is closed at the end."""
    return Opening(make, close)


def ending(
    make: Callable[[], Coroutine[Any, Any, T]], end: Callable[[T], Awaitable[None]]
) -> Opening[T]:
    """What `make` gives; `end` is its end."""

    async def ended(made: T, error: BaseException | None) -> None:
        # What went wrong first is what the caller has to know.
        with contextlib.suppress(*[HandfastError] if error is not None else []):
            await end(made)

    return Opening(make, ended)
