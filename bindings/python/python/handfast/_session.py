"""The session that everything a client holds is held on; for programs without asyncio."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from . import _native
from ._frames import Items, Reading
from ._types import SessionState


class SessionBase:
    """The session as it is at this moment, without input or output."""

    def __init__(self, native: _native.Session) -> None:
        self._native = native

    @property
    def state(self) -> SessionState:
        """The state at this moment."""
        return SessionState.from_native(self._native.state())

    @property
    def lease(self) -> int | None:
        """The id of its lease; `None` while it has none."""
        return self._native.lease

    def remaining(self) -> float:
        """Seconds that what is held is held for certain if nothing more is heard."""
        return self._native.remaining()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.state.kind} lease={self.lease or 0:x}>"


class SessionReading(Reading[SessionState]):
    """Reads states."""

    def _read(self, raw: Any) -> Iterable[SessionState]:
        return [SessionState.from_native(raw)]


class SessionStates(SessionReading, Items[SessionState]):
    """The changes of a session's state. Iterate; leaving a `with` block closes it.

    States that came and went unseen in between are left out. Ends when the client is closed.
    """


class Session(SessionBase):
    """The session of a client; a client without one opens it to look at it."""

    def states(self) -> SessionStates:
        """Follow the changes of the state, from now on."""
        return SessionStates(self._native.states())
