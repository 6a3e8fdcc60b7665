"""Watches and observers for programs without asyncio: plain iterators that can be closed."""

from __future__ import annotations

from collections import deque
from types import TracebackType
from typing import Self

from . import _native
from ._types import Event, Leader, optional_leader


class Watch:
    """The changes of keys, in order. Iterate; leaving the `with` block closes it.

    It heals by itself over lost connections. Iterating ends when it is closed, also by another
    thread, and raises CompactedError when changes to be reported are gone.
    """

    def __init__(self, native: _native.Watch) -> None:
        self._native = native
        self._events: deque[Event] = deque()
        self.revision = 0

    def next(self, timeout: float | None = None) -> Event | None:
        """The next change; `None` when it is closed. Raises TimeoutError after `timeout`."""
        if not self._events:
            batch = self._native.next(timeout).wait()
            if batch is None:
                return None
            self.revision, raw = batch
            self._events.extend(Event.from_native(event) for event in raw)
        return self._events.popleft()

    def close(self) -> None:
        """Cancel the watch. May be called from another thread."""
        self._native.close()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Event:
        event = self.next()
        if event is None:
            raise StopIteration
        return event

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


class Observer:
    """Who leads: the leader now, then each change; `None` means that nobody leads."""

    def __init__(self, native: _native.Observer) -> None:
        self._native = native

    def close(self) -> None:
        """Stop observing. May be called from another thread."""
        self._native.close()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Leader | None:
        told = self._native.next().wait()
        if told is None:
            raise StopIteration
        return optional_leader(told[0])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
