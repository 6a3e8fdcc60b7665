"""Configurations: the value in force, kept up to date; for programs without asyncio.

What is common to both kinds of programs is here, too: `ConfigBase` and the values.
"""

from __future__ import annotations

import logging
import os
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypedDict, TypeVar

from . import _native, _typed
from ._frames import Closing, Items, Reading
from ._requests import Pending, Requests, nothing

T = TypeVar("T")
Source = Literal["server", "snapshot", "default"]

log = logging.getLogger("handfast.config")
# Tells `default=None` from no default.
NO_DEFAULT: Any = object()


class ConfigOptions(TypedDict):
    """How a configuration is opened."""

    prefix: bool
    decode: Callable[[list[tuple[bytes, bytes]]], Any]
    check: Callable[[Any], object] | None
    default: list[Any]
    snapshot: str | None
    patience: float


def options(
    wanted: Any,
    prefix: bool,
    default: Any,
    validate: Callable[[Any], object] | None,
    snapshot: str | os.PathLike[str] | None,
    patience: float,
) -> ConfigOptions:
    """The options in the native module's terms."""
    return ConfigOptions(
        prefix=prefix,
        decode=_typed.decoder(wanted, prefix),
        check=validate,
        default=[] if default is NO_DEFAULT else [default],
        snapshot=None if snapshot is None else os.fspath(snapshot),
        patience=patience,
    )


@dataclass(frozen=True, slots=True)
class ConfigProblem:
    """Something published that was not taken over, and why; `kind` is a stable word."""

    kind: str
    revision: int
    text: str

    def __str__(self) -> str:
        return f"revision {self.revision}: {self.text}" if self.revision else self.text


@dataclass(frozen=True, slots=True)
class ConfigEvent(Generic[T]):
    """What happened to a configuration.

    `applied`: `value` is in force, `names` are those that changed. `problem`: what was published
    is refused, the value before it stays. `reset`: the server's data was replaced. `disconnected`
    and `connected`: whether a server is heard.
    """

    kind: Literal["applied", "problem", "reset", "disconnected", "connected"]
    value: T | None = None
    revision: int = 0
    source: Source | None = None
    names: tuple[str, ...] = ()
    problem: ConfigProblem | None = None

    @classmethod
    def from_native(cls, raw: tuple[Any, ...]) -> ConfigEvent[T]:
        match raw:
            case ("applied", (value, revision, source), names):
                told = tuple(name.decode(errors="replace") for name in names)
                return cls("applied", value, revision, source, told)
            case ("problem", problem):
                found = ConfigProblem(*problem)
                return cls("problem", revision=found.revision, problem=found)
            case ("reset", revision):
                return cls("reset", revision=revision)
            case (kind, *_):
                return cls(kind)
        raise AssertionError(raw)


@dataclass(frozen=True, slots=True)
class Publication:
    """Who published something, why, when by the publisher's clock, and at which revision."""

    by: str
    note: str
    unix_ms: int
    revision: int


def optional_publication(raw: tuple[Any, ...] | None) -> Publication | None:
    """The publication, if it is known."""
    return None if raw is None else Publication(*raw)


class ConfigBase(Generic[T]):
    """The value in force, without input or output."""

    def __init__(self, native: _native.Config, prefix: bool) -> None:
        self._native = native
        self._prefix = prefix
        self._changes: weakref.WeakSet[_native.Changes] = weakref.WeakSet()

    @property
    def value(self) -> T:
        """The latest value that was published and accepted."""
        value: T = self._native.current()[0]
        return value

    @property
    def revision(self) -> int:
        """The revision at which the value in force was published."""
        return int(self._native.current()[1])

    @property
    def source(self) -> Source:
        """Where the value in force comes from: a server, the snapshot on disk, the default."""
        source: Source = self._native.current()[2]
        return source

    @property
    def refused(self) -> ConfigProblem | None:
        """Why what is published now is not in force; `None` if it is."""
        raw = self._native.refused()
        return None if raw is None else ConfigProblem(*raw)

    @property
    def problems(self) -> tuple[ConfigProblem, ...]:
        """The latest problems, oldest first, also those that are over."""
        return tuple(ConfigProblem(*raw) for raw in self._native.problems())

    def stale_for(self) -> float:
        """Seconds for which something newer may be published unseen; 0 while connected."""
        return self._native.stale_for()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.value!r} revision={self.revision}>"

    def _open_changes(self) -> _native.Changes:
        changes = self._native.changes()
        self._changes.add(changes)
        return changes

    def _at_least(self, revision: int) -> Pending[None]:
        return Pending(self._native.at_least(revision), nothing)

    def _saved(self) -> Pending[None]:
        return Pending(self._native.saved(), nothing)

    def _publish(self, value: Any, note: str) -> Pending[int]:
        return Pending(self._native.publish(_typed.entries(value, self._prefix), note), int)

    def _close(self) -> None:
        self._native.close()
        for changes in list(self._changes):
            changes.close()


class ConfigReading(Reading[ConfigEvent[T]]):
    """Reads what happens to a configuration."""

    def _read(self, raw: Any) -> Iterable[ConfigEvent[T]]:
        return [ConfigEvent.from_native(raw)]


class ConfigChanges(ConfigReading[T], Items[ConfigEvent[T]]):
    """What happens to a configuration, in order, beginning with the value in force. Iterate."""


class Config(ConfigBase[T], Closing):
    """A configuration that follows what is published. There is a value at any time.

    Iterating gives the value in force, then each later one. Leaving a `with` block closes it.
    """

    def at_least(self, revision: int) -> None:
        """Wait until everything published up to `revision` is in force or refused."""
        self._at_least(revision).wait()

    def saved(self) -> None:
        """Wait until the snapshot on disk is that of the value in force."""
        self._saved().wait()

    def changes(self) -> ConfigChanges[T]:
        """Everything that happens, beginning with the value in force."""
        return ConfigChanges(self._open_changes())

    def publish(self, value: Any, *, note: str = "") -> int:
        """Publish on top of what is in force here; returns the revision.

        Raises PublishConflictError if somebody else published since.
        """
        return self._publish(value, note).wait()

    def on_change(self, callback: Callable[[T], object]) -> Callable[[], None]:
        """Call `callback` with each later value, on a thread of its own; returns what ends it.

        What the callback raises is logged to `handfast.config`, and the next value comes anyway.
        """
        changes = self.changes()
        # The first is the value in force.
        changes.next()
        threading.Thread(
            target=_call_back, args=(changes, callback), name="handfast-config", daemon=True
        ).start()
        return changes.close

    def close(self) -> None:
        """Follow no more, and end all iterations."""
        self._close()

    def __iter__(self) -> Iterator[T]:
        with self.changes() as changes:
            for event in changes:
                if event.kind == "applied":
                    # The type says that there may be none, of other events.
                    value: Any = event.value
                    yield value


def _call_back(changes: ConfigChanges[Any], callback: Callable[[Any], object]) -> None:
    for event in changes:
        if event.kind != "applied":
            continue
        try:
            callback(event.value)
        except Exception:
            log.exception("a callback for revision %d failed", event.revision)


def publish(
    requests: Requests,
    key: bytes,
    value: Any,
    prefix: bool,
    unchanged_since: int | None,
    note: str,
) -> Pending[int]:
    """A publication, put together."""
    entries = _typed.entries(value, prefix)
    return Pending(requests.native.publish(key, entries, unchanged_since, note), int)
