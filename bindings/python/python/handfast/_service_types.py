"""What services tell: frozen values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypedDict

Status = Literal["warming", "up", "draining"]
PickWay = Literal["p2c", "round_robin", "weighted", "random", "hash", "sticky"]


class Said(TypedDict):
    """What an instance says of itself, or changes of it."""

    addr: str | None
    weight: int | None
    zone: str | None
    version: str | None
    status: Status | None
    metadata: list[tuple[str, str]] | None


def said(
    addr: str | None = None,
    weight: int | None = None,
    zone: str | None = None,
    version: str | None = None,
    status: Status | None = None,
    metadata: Mapping[str, str] | None = None,
) -> Said:
    """The same in the native module's terms."""
    listed = None if metadata is None else list(metadata.items())
    return Said(
        addr=addr, weight=weight, zone=zone, version=version, status=status, metadata=listed
    )


@dataclass(frozen=True, slots=True)
class Instance:
    """Somebody who offers a service. A `suspect` seems to be gone together with many others."""

    id: str
    addr: str
    weight: int
    zone: str
    version: str
    status: Status
    metadata: Mapping[str, str]
    lease: int
    token: int
    revision: int
    suspect: bool

    @classmethod
    def from_native(cls, raw: tuple[Any, ...]) -> Instance:
        id, (addr, weight, zone, version, status, metadata), known, suspect = raw
        lease, token, revision = known
        told = dict(metadata)
        return cls(
            id, addr, weight, zone, version, status, told, lease, token, revision, suspect
        )


@dataclass(frozen=True, slots=True)
class ServiceList:
    """Who offers a service, in the order of ids. `stale_for`: seconds without a server."""

    instances: tuple[Instance, ...]
    revision: int
    stale_for: float

    def __iter__(self) -> Iterator[Instance]:
        return iter(self.instances)

    def __len__(self) -> int:
        return len(self.instances)

    @classmethod
    def from_native(cls, raw: tuple[Any, ...]) -> ServiceList:
        listed, revision, stale_for = raw
        return cls(instances(listed), revision, stale_for)


@dataclass(frozen=True, slots=True)
class ServiceChange:
    """A change of the list. `left` has unregistered, `died` ended without a word."""

    kind: Literal["joined", "updated", "left", "died", "suspect"]
    instance: Instance
    before: Instance | None

    @classmethod
    def from_native(cls, raw: tuple[Any, ...]) -> ServiceChange:
        kind, instance, before = raw
        told = None if before is None else Instance.from_native(before)
        return cls(kind, Instance.from_native(instance), told)


@dataclass(frozen=True, slots=True)
class RegistrationState:
    """Where a registration stands. `duplicate`: somebody else has the id, under `lease`."""

    kind: Literal["pending", "listed", "duplicate", "ended"]
    revision: int = 0
    lease: int = 0
    reason: str = ""

    @classmethod
    def from_native(cls, raw: tuple[Any, ...]) -> RegistrationState:
        kind, number, reason = raw
        if kind == "duplicate":
            return cls(kind, lease=number)
        return cls(kind, revision=number, reason=reason)


def instances(raw: list[tuple[Any, ...]]) -> tuple[Instance, ...]:
    """A listing."""
    return tuple(Instance.from_native(one) for one in raw)


def optional_number(raw: int | None) -> int | None:
    """A revision, if there is one."""
    return raw
