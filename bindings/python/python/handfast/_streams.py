"""Watches and observers for programs without asyncio: plain iterators that can be closed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ._frames import Items, Reading, Source, Stream
from ._types import Event, Leader, optional_leader


class WatchReading(Reading[Event]):
    """Reads changes, a batch at a time."""

    def __init__(self, native: Source) -> None:
        super().__init__(native)
        self.revision = 0

    def _read(self, raw: Any) -> Iterable[Event]:
        self.revision, events = raw
        return [Event.from_native(event) for event in events]


class LeaderReading(Reading[Leader | None]):
    """Reads who leads."""

    def _read(self, raw: Any) -> Iterable[Leader | None]:
        return [optional_leader(raw[0])]


class Watch(WatchReading, Items[Event]):
    """The changes of keys, in order. Iterate; leaving the `with` block closes it.

    It heals by itself over lost connections. Iterating ends when it is closed, also by another
    thread, and raises CompactedError when changes to be reported are gone.
    """


class Observer(LeaderReading, Stream[Leader | None]):
    """Who leads: the leader now, then each change; `None` means that nobody leads."""
