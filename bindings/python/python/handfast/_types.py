"""The values that calls return: frozen, comparable, picklable."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

T = TypeVar("T")

__all__ = [
    "DeleteResult",
    "Event",
    "KeyValue",
    "Leader",
    "LeaseInfo",
    "Member",
    "PutResult",
    "LockLine",
    "CasResult",
    "SessionState",
    "RangeResult",
    "TxnResult",
    "Waiting",
]


def to_bytes(given: str | bytes, what: str = "key") -> bytes:
    """Keys and values are bytes; text is encoded as UTF-8."""
    if isinstance(given, str):
        return given.encode()
    if isinstance(given, bytes):
        return given
    if isinstance(given, bytearray | memoryview):
        return bytes(given)
    raise TypeError(f"a {what} is str or bytes, not {type(given).__name__}")


def several(given: Iterable[T], what: str) -> list[T]:
    """What is given as a list; a lone text is a mistake, although its letters can be iterated."""
    if isinstance(given, str | bytes):
        raise TypeError(f"{what} are several: write [{given!r}], not {given!r}")
    return list(given)


@dataclass(frozen=True, slots=True)
class KeyValue:
    """A key with its value, and when it was written."""

    key: bytes
    value: bytes
    create_revision: int
    mod_revision: int
    version: int
    lease: int

    @property
    def text(self) -> str:
        """The value as text; raises UnicodeDecodeError if it is none."""
        return self.value.decode()

    @property
    def key_text(self) -> str:
        """The key as text; raises UnicodeDecodeError if it is none."""
        return self.key.decode()


def optional_pair(raw: tuple[Any, ...] | None) -> KeyValue | None:
    """The pair, if there is one."""
    return None if raw is None else KeyValue(*raw)


@dataclass(frozen=True, slots=True)
class RangeResult:
    """The answer to a read of several keys; iterating gives the pairs."""

    kvs: tuple[KeyValue, ...]
    count: int
    more: bool
    revision: int

    def __iter__(self) -> Iterator[KeyValue]:
        return iter(self.kvs)

    def __len__(self) -> int:
        return len(self.kvs)

    @classmethod
    def from_native(cls, raw: tuple[Any, ...]) -> RangeResult:
        pairs, count, more, revision = raw
        return cls(tuple(KeyValue(*pair) for pair in pairs), count, more, revision)


@dataclass(frozen=True, slots=True)
class PutResult:
    """The answer to a put: its revision, and the pair before it if that was asked for."""

    revision: int
    prev_kv: KeyValue | None

    @classmethod
    def from_native(cls, raw: tuple[Any, ...]) -> PutResult:
        revision, before = raw
        return cls(revision, optional_pair(before))


@dataclass(frozen=True, slots=True)
class DeleteResult:
    """The answer to a delete; the deleted pairs if they were asked for."""

    deleted: int
    revision: int
    prev_kvs: tuple[KeyValue, ...]

    @classmethod
    def from_native(cls, raw: tuple[Any, ...]) -> DeleteResult:
        deleted, revision, before = raw
        return cls(deleted, revision, tuple(KeyValue(*pair) for pair in before))


@dataclass(frozen=True, slots=True)
class TxnResult:
    """The answer to a transaction: which branch ran, and the answers to its operations."""

    succeeded: bool
    revision: int
    results: tuple[RangeResult | PutResult | DeleteResult, ...]

    def range(self, index: int = 0) -> RangeResult:
        """The answer to the read that is operation `index` of the branch that ran."""
        answer = self.results[index]
        if not isinstance(answer, RangeResult):
            raise TypeError(f"operation {index} is no read")
        return answer

    def kv(self, index: int = 0) -> KeyValue | None:
        """The first pair of that read, if there is one."""
        return next(iter(self.range(index)), None)

    @classmethod
    def from_native(cls, raw: tuple[Any, ...]) -> TxnResult:
        succeeded, revision, answers = raw
        return cls(succeeded, revision, tuple(_ANSWERS[kind](raw) for kind, raw in answers))


_ANSWERS: dict[str, Callable[[tuple[Any, ...]], RangeResult | PutResult | DeleteResult]] = {
    "get": RangeResult.from_native,
    "put": PutResult.from_native,
    "delete": DeleteResult.from_native,
}


@dataclass(frozen=True, slots=True)
class Event:
    """A change of one key. Of a delete, `kv` has only the key and the revision."""

    kind: Literal["put", "delete"]
    kv: KeyValue
    prev_kv: KeyValue | None

    @property
    def key(self) -> bytes:
        return self.kv.key

    @property
    def value(self) -> bytes:
        return self.kv.value

    @property
    def text(self) -> str:
        """The value as text; raises UnicodeDecodeError if it is none."""
        return self.kv.text

    @property
    def revision(self) -> int:
        """The revision of the change."""
        return self.kv.mod_revision

    @property
    def is_create(self) -> bool:
        """Whether the key was not there before."""
        return self.kind == "put" and self.kv.create_revision == self.kv.mod_revision

    @classmethod
    def from_native(cls, raw: tuple[Any, ...]) -> Event:
        created, pair, before = raw
        return cls("put" if created else "delete", KeyValue(*pair), optional_pair(before))


@dataclass(frozen=True, slots=True)
class Member:
    """Somebody who holds a name or waits for it."""

    key: bytes
    value: bytes
    token: int
    lease: int
    position: int
    immortal: bool
    app: str | None
    host: str | None
    pid: int | None
    since_unix_ms: int | None

    def __str__(self) -> str:
        session = f"session {self.lease:x}"
        if self.app is None:
            return session
        return f"{self.app} (pid {self.pid} on {self.host}, {session})"

    @classmethod
    def from_native(cls, raw: tuple[Any, ...]) -> Member:
        *known, session = raw
        return cls(*known, *(session or (None, None, None, None)))


@dataclass(frozen=True, slots=True)
class Waiting:
    """The own place in a line, while waiting.

    `name`: what is waited for; of several locks the one that is. `position`: 1 would hold.
    `holder`: who holds, without what its session says of it.
    """

    name: bytes
    position: int
    holder: Member | None

    @property
    def ahead(self) -> int:
        """How many come first, the holder among them."""
        return self.position - 1

    @classmethod
    def from_native(cls, raw: tuple[Any, ...]) -> Waiting:
        name, position, holder = raw
        return cls(name, position, None if holder is None else Member.from_native(holder))


@dataclass(frozen=True, slots=True)
class LockLine:
    """Everybody at a name, as of a revision: the first holds, the others wait, in order."""

    members: tuple[Member, ...]
    revision: int

    @property
    def holder(self) -> Member | None:
        """Who holds it."""
        return next(iter(self.members), None)

    @property
    def waiters(self) -> tuple[Member, ...]:
        """Who waits for it, in order."""
        return self.members[1:]

    @classmethod
    def from_native(cls, raw: tuple[Any, ...]) -> LockLine:
        members, revision = raw
        return cls(tuple(Member.from_native(member) for member in members), revision)


@dataclass(frozen=True, slots=True)
class Leader:
    """Who leads: the announced value, and the term, which grows with every leader."""

    key: bytes
    value: bytes
    token: int
    lease: int
    revision: int

    @property
    def text(self) -> str:
        """The announced value as text; raises UnicodeDecodeError if it is none."""
        return self.value.decode()


def optional_leader(raw: tuple[Any, ...] | None) -> Leader | None:
    """The leader, if there is one."""
    return None if raw is None else Leader(*raw)


@dataclass(frozen=True, slots=True)
class CasResult:
    """The answer to a compare-and-set; `current` is what was found instead, if it failed."""

    succeeded: bool
    revision: int
    current: KeyValue | None

    @classmethod
    def of(cls, result: TxnResult) -> CasResult:
        """The same of a transaction that reads the key otherwise."""
        current = None if result.succeeded else result.kv()
        return cls(result.succeeded, result.revision, current)


@dataclass(frozen=True, slots=True)
class SessionState:
    """What the session of a client is in.

    `connecting`: it has no lease yet. `connected`: its lease is renewed. `suspended`: an answer is
    overdue, and what is held is held for `remaining` more seconds. `expiring`: work under a lock
    should stop now. `lost`: what was held is gone, `reason` says why in a stable word, `text` for
    people. `recovering`: a new lease is on its way. `closed`: the client is.
    """

    kind: Literal[
        "connecting", "connected", "suspended", "expiring", "lost", "recovering", "closed"
    ]
    remaining: float | None
    reason: str | None
    text: str | None

    @classmethod
    def from_native(cls, raw: tuple[Any, ...]) -> SessionState:
        kind, remaining, lost = raw
        return cls(kind, remaining, *(lost or (None, None)))


@dataclass(frozen=True, slots=True)
class LeaseInfo:
    """What the server knows of a lease: whole seconds left and granted, and its keys."""

    ttl: int
    granted_ttl: int
    keys: tuple[bytes, ...]

    @classmethod
    def from_native(cls, raw: tuple[Any, ...]) -> LeaseInfo:
        ttl, granted_ttl, keys = raw
        return cls(ttl, granted_ttl, tuple(keys))
