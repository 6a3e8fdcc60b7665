"""What queues tell: frozen values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Generic, Literal, NamedTuple, TypeVar

from ._types import Member

ItemState = Literal["ready", "blocked", "claimed", "dead", "done", "unknown"]

C = TypeVar("C")


class AckedAndNext(NamedTuple, Generic[C]):
    """The revision of an acknowledgement, and the item that was claimed with it, if one was."""

    revision: int
    next: C | None


@dataclass(frozen=True, slots=True)
class Pushed:
    """What a push came to; of a `duplicate` nothing was written."""

    id: str
    revision: int
    duplicate: bool

    @classmethod
    def from_native(cls, raw: tuple[Any, ...]) -> Pushed:
        return cls(*raw)


@dataclass(frozen=True, slots=True)
class QueueItem:
    """An item that is not done. `age` in seconds; `said` is what its last worker said of it."""

    id: str
    state: ItemState
    claimed_by: Member | None
    age: float
    attempts: int
    said: str | None
    size: int
    revision: int

    @classmethod
    def from_native(cls, raw: tuple[Any, ...]) -> QueueItem:
        id, state, by, age, counted = raw
        member = None if by is None else Member.from_native(by)
        return cls(id, state, member, age, *counted)


@dataclass(frozen=True, slots=True)
class QueueStatus:
    """How many items are in what, and what is allowed; `open`: whether items can be claimed."""

    control: Literal["run", "pause", "drain"]
    open: bool
    ready: int
    blocked: int
    claimed: int
    dead: int
    done: int
    workers: int
    revision: int

    @classmethod
    def from_native(cls, raw: tuple[Any, ...]) -> QueueStatus:
        control, is_open, (ready, blocked, claimed, dead, done), workers, revision = raw
        return cls(
            control, is_open, ready, blocked, claimed, dead, done, workers, revision
        )


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """An item that failed too often. `said` is `None` if its last worker died."""

    id: str
    payload: bytes
    attempts: int
    said: str | None
    revision: int


@dataclass(frozen=True, slots=True)
class Reason:
    """One thing that keeps an item from being claimed; `code` is stable, `text` for people."""

    code: str
    text: str

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class Why:
    """Why an item is where it is: everything that keeps it from being claimed."""

    id: str
    state: ItemState
    reasons: tuple[Reason, ...]

    @classmethod
    def from_native(cls, raw: tuple[Any, ...]) -> Why:
        id, state, reasons = raw
        return cls(id, state, tuple(Reason(*reason) for reason in reasons))


def items(raw: list[tuple[Any, ...]]) -> tuple[QueueItem, ...]:
    """A listing."""
    return tuple(QueueItem.from_native(item) for item in raw)


def letters(raw: list[tuple[Any, ...]]) -> tuple[DeadLetter, ...]:
    """The dead letters."""
    return tuple(DeadLetter(*letter) for letter in raw)
