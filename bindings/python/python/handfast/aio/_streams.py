"""Watches and observers for asyncio: async iterators that lose nothing when cancelled."""

from __future__ import annotations

from .._streams import LeaderReading, WatchReading
from .._types import Event, Leader
from ._frames import Stream


class Watch(WatchReading, Stream[Event]):
    """The changes of keys, in order, as an async iterator.

    It heals by itself over lost connections. Cancelling a wait for the next change, with
    `asyncio.timeout` for one, loses nothing. Raises CompactedError when changes to be reported
    are gone.
    """


class Observer(LeaderReading, Stream[Leader | None]):
    """Who leads: the leader now, then each change; `None` means that nobody leads."""
