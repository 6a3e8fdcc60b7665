"""The conditions and operations of a transaction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from ._types import to_bytes

Operator: TypeAlias = Literal["==", "!=", ">", "<"]
# What the native module takes; see src/request.rs.
RawCompare: TypeAlias = tuple[str, bytes, str, int | bytes, bool]
RawOp: TypeAlias = tuple[str, bytes, bytes, int, bool, bool, int]


@dataclass(frozen=True, slots=True)
class Compare:
    """A condition on the state before the transaction; made by the class methods.

    A missing key has version, revisions and lease 0, and fails every comparison of its value.
    With `prefix`, every key that starts with the key must satisfy it.
    """

    raw: RawCompare

    @classmethod
    def create_revision(
        cls, key: str | bytes, operator: Operator, revision: int, *, prefix: bool = False
    ) -> Compare:
        """Compares the revision that created the key."""
        return cls(("create_revision", to_bytes(key), operator, revision, prefix))

    @classmethod
    def mod_revision(
        cls, key: str | bytes, operator: Operator, revision: int, *, prefix: bool = False
    ) -> Compare:
        """Compares the revision of the last put."""
        return cls(("mod_revision", to_bytes(key), operator, revision, prefix))

    @classmethod
    def version(
        cls, key: str | bytes, operator: Operator, version: int, *, prefix: bool = False
    ) -> Compare:
        """Compares how many puts the key has had since it was created."""
        return cls(("version", to_bytes(key), operator, version, prefix))

    @classmethod
    def lease(
        cls, key: str | bytes, operator: Operator, lease: int, *, prefix: bool = False
    ) -> Compare:
        """Compares the lease the key is attached to."""
        return cls(("lease", to_bytes(key), operator, lease, prefix))

    @classmethod
    def value(
        cls, key: str | bytes, operator: Operator, value: str | bytes, *, prefix: bool = False
    ) -> Compare:
        """Compares the value, byte by byte."""
        return cls(("value", to_bytes(key), operator, to_bytes(value, "value"), prefix))

    @classmethod
    def missing(cls, key: str | bytes) -> Compare:
        """The key is not there."""
        return cls.create_revision(key, "==", 0)

    @classmethod
    def exists(cls, key: str | bytes) -> Compare:
        """The key is there."""
        return cls.create_revision(key, ">", 0)


@dataclass(frozen=True, slots=True)
class Op:
    """An operation of a transaction; made by the class methods."""

    raw: RawOp

    @classmethod
    def get(cls, key: str | bytes, *, prefix: bool = False, limit: int = 0) -> Op:
        """Reads the key, or all that start with it."""
        return cls(("get", to_bytes(key), b"", 0, prefix, False, limit))

    @classmethod
    def put(
        cls, key: str | bytes, value: str | bytes, *, lease: int = 0, prev_kv: bool = False
    ) -> Op:
        """Writes the key; `lease` is the id of the lease it shall live on."""
        raw = ("put", to_bytes(key), to_bytes(value, "value"), lease, False, prev_kv, 0)
        return cls(raw)

    @classmethod
    def delete(cls, key: str | bytes, *, prefix: bool = False, prev_kv: bool = False) -> Op:
        """Deletes the key, or all that start with it."""
        return cls(("delete", to_bytes(key), b"", 0, prefix, prev_kv, 0))
