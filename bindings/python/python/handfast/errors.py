"""What can go wrong. Every error has a stable `code`; its message is for people."""

from __future__ import annotations

import builtins
from typing import Any

from ._types import Member


class HandfastError(Exception):
    """The base of all errors of this package.

    `code` is stable, `retryable` says whether the same call may succeed later, and `details` holds
    what the message speaks of: the endpoint, the holder, the limit.
    """

    def __init__(
        self,
        message: str,
        *,
        code: str = "INTERNAL",
        retryable: bool = False,
        details: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.retryable = retryable
        self.details: dict[str, Any] = dict(details or {})

    def __reduce__(self) -> tuple[Any, ...]:
        return (_rebuild, (type(self), self.message, self.code, self.retryable, self.details))


def _rebuild(
    kind: type[HandfastError], message: str, code: str, retryable: bool, details: dict[str, Any]
) -> HandfastError:
    return kind(message, code=code, retryable=retryable, details=details)


class UnavailableError(HandfastError, builtins.ConnectionError):
    """No server could be reached, or none may answer just now."""


class TimeoutError(HandfastError, builtins.TimeoutError):
    """The time given to the call ran out. A write may still have been applied."""


class LockTimeoutError(TimeoutError):
    """The lock or leadership was not free in time; nothing is left in the queue."""

    @property
    def holder(self) -> Member | None:
        """Who holds it, if that was to be learned in time."""
        return self.details.get("holder")

    @property
    def position(self) -> int | None:
        """The place in the queue when given up; 1 is the holder's."""
        return self.details.get("position")

    @property
    def unreached(self) -> str | None:
        """Why no server was reached, if none was when it was given up."""
        return self.details.get("unreached")


class LockLostError(HandfastError):
    """The lock is not held any more, and somebody else may hold it."""

    @property
    def reason(self) -> str:
        """Why, in a stable word: `expired`, `revoked`, `broken`, `deleted`, `max_hold`, ..."""
        return str(self.details.get("reason", ""))


class LeadershipLostError(LockLostError):
    """The leadership is lost, and somebody else may lead."""


class SessionLostError(LockLostError):
    """The session ended while waiting for a lock or leadership; try again."""


class KindConflictError(HandfastError, builtins.ValueError):
    """The name is used for another kind of thing by another program."""


class ClosedError(HandfastError):
    """The client, or what it handed out, was closed."""


class InvalidArgumentError(HandfastError, builtins.ValueError):
    """An argument cannot be used; the message says what is wrong with it."""


class CompactedError(HandfastError):
    """The history asked for is gone."""

    @property
    def compact_revision(self) -> int:
        """The oldest revision that is left; 0 if the server did not say."""
        return int(self.details.get("compact_revision", 0))


class AckLostError(LockLostError):
    """The claim was lost before its item was acknowledged, and nothing was written."""


class DrainingError(HandfastError):
    """The queue accepts no items."""


class DuplicateInstanceError(HandfastError):
    """Somebody else is registered under this id; the message says where and who."""


class NoInstanceError(HandfastError):
    """There is no instance of the service that could be called."""


class PublishConflictError(HandfastError):
    """Somebody else published since; read it again and publish on top of that."""


class ConfigRefusedError(HandfastError, builtins.ValueError):
    """What is published is not acceptable to this program, and it has no earlier value."""


_BY_CODE: dict[str, type[HandfastError]] = {
    "UNAVAILABLE": UnavailableError,
    "TIMEOUT": TimeoutError,
    "LOCK_LOST": LockLostError,
    "SESSION_LOST": SessionLostError,
    "KIND_CONFLICT": KindConflictError,
    "CLOSED": ClosedError,
    "INVALID_ARGUMENT": InvalidArgumentError,
    "COMPACTED": CompactedError,
    "ACK_LOST": AckLostError,
    "DRAINING": DrainingError,
    "DUPLICATE_INSTANCE": DuplicateInstanceError,
    "NO_INSTANCE": NoInstanceError,
    "CONFLICT": PublishConflictError,
    "CONFIG_REFUSED": ConfigRefusedError,
}


def from_native(
    code: str, message: str, retryable: bool, details: dict[str, Any]
) -> HandfastError:
    """The exception for an error of the native module; an unknown code gives the base class."""
    kind = _BY_CODE.get(code, HandfastError)
    recipe = details.get("recipe")
    if kind is TimeoutError and recipe is not None:
        kind = LockTimeoutError
    elif kind is LockLostError and recipe == "election":
        kind = LeadershipLostError
    if "holder" in details:
        details["holder"] = Member.from_native(details["holder"])
    return kind(message, code=code, retryable=retryable, details=details)
