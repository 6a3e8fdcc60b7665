"""The end of the interpreter: what is still open is closed, and no thread of ours is left."""

from __future__ import annotations

import atexit
import contextlib
import weakref
from typing import Protocol

from . import _native


class Open(Protocol):
    """Something that can be closed without an event loop."""

    def _close_at_exit(self) -> None: ...


_open: weakref.WeakSet[Open] = weakref.WeakSet()
_servers: weakref.WeakSet[Open] = weakref.WeakSet()


def opened(client: Open) -> None:
    """Close `client` at exit, so that what it holds is free at once."""
    _open.add(client)


def started(server: Open) -> None:
    """Stop `server` at exit, after the clients."""
    _servers.add(server)


@atexit.register
def _at_exit() -> None:
    for thing in [*_open, *_servers]:
        # A forked child may not use what its parent opened, and nobody is left to tell.
        with contextlib.suppress(Exception):
            thing._close_at_exit()
    _native.shutdown()
