"""The session that everything a client holds is held on; for asyncio."""

from __future__ import annotations

from .._session import SessionBase, SessionReading
from .._types import SessionState
from ._frames import Opening, Stream, closing


class SessionStates(SessionReading, Stream[SessionState]):
    """The changes of a session's state, as an async iterator.

    States that came and went unseen in between are left out. Ends when the client is closed.
    """


class Session(SessionBase):
    """The session of a client; a client without one opens it to look at it."""

    def states(self) -> Opening[SessionStates]:
        """Follow the changes of the state: `async with session.states() as states`."""
        states = self._native.states()

        async def make() -> SessionStates:
            return SessionStates(states)

        return closing(make)
