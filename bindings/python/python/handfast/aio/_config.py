"""Configurations, for asyncio."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable
from typing import Any, TypeVar

from .. import _native
from .._config import ConfigBase, ConfigEvent, ConfigReading, log
from ._frames import Opening, Stream, closing

T = TypeVar("T")


class ConfigChanges(ConfigReading[T], Stream[ConfigEvent[T]]):
    """What happens to a configuration, in order, beginning with the value in force."""


class Config(ConfigBase[T]):
    """A configuration that follows what is published. There is a value at any time.

    Iterating gives the value in force, then each later one.
    """

    def __init__(self, native: _native.Config, prefix: bool) -> None:
        super().__init__(native, prefix)
        # The event loop keeps no reference to tasks.
        self._callbacks: set[asyncio.Task[None]] = set()

    async def at_least(self, revision: int) -> None:
        """Wait until everything published up to `revision` is in force or refused."""
        await self._at_least(revision).start()

    async def saved(self) -> None:
        """Wait until the snapshot on disk is that of the value in force."""
        await self._saved().start()

    def changes(self) -> Opening[ConfigChanges[T]]:
        """Everything that happens: `async with config.changes() as events`."""

        async def make() -> ConfigChanges[T]:
            return ConfigChanges(self._open_changes())

        return closing(make)

    def on_change(self, callback: Callable[[T], object]) -> Callable[[], None]:
        """Call `callback` with each later value, in a task of its own; returns what ends it.

        What the callback returns is awaited if it can be. What it raises is logged to
        `handfast.config`, and the next value comes anyway.
        """
        changes: ConfigChanges[T] = ConfigChanges(self._open_changes())
        task = asyncio.create_task(_call_back(changes, callback))
        self._callbacks.add(task)
        task.add_done_callback(self._callbacks.discard)

        def stop() -> None:
            task.cancel()

        return stop

    async def publish(self, value: Any, *, note: str = "") -> int:
        """Publish on top of what is in force here; returns the revision.

        Raises PublishConflictError if somebody else published since.
        """
        return await self._publish(value, note).start()

    async def close(self) -> None:
        """Follow no more, and end all iterations and callbacks."""
        self._close()

    async def __aiter__(self) -> AsyncIterator[T]:
        async with self.changes() as changes:
            async for event in changes:
                if event.kind == "applied":
                    # The type says that there may be none, of other events.
                    value: Any = event.value
                    yield value


async def _call_back(changes: ConfigChanges[Any], callback: Callable[[Any], object]) -> None:
    # The first is the value in force.
    await anext(changes, None)
    async for event in changes:
        if event.kind != "applied":
            continue
        try:
            done = callback(event.value)
            if inspect.isawaitable(done):
                await done
        except Exception:
            log.exception("a callback for revision %d failed", event.revision)


class ConfigOpening(Opening[Config[T]]):
    """`async with` or await it for the configuration; `async for` gives its values at once."""

    async def __aiter__(self) -> AsyncIterator[T]:
        async with self as config:
            async for value in config:
                yield value
