"""Things that can be opened with `await` or with `async with`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Generator
from types import TracebackType
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Opening(Generic[T]):
    """Awaiting it gives the thing; `async with` also closes it."""

    def __init__(
        self,
        make: Callable[[], Coroutine[Any, Any, T]],
        close: Callable[[T, BaseException | None], Awaitable[None]],
    ) -> None:
        self._make = make
        self._close = close
        self._made: T | None = None

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
