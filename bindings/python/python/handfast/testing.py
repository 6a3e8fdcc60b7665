"""A server for tests, with faults: what a program does when things go wrong can be tried.

    def test_the_job_stops(handfast_server):
        with handfast.connect(handfast_server.endpoint, app="job") as hf, hf.lock("job") as lock:
            handfast_server.expire("job")
            assert lock.lost_event.wait(10)

pytest finds the fixture `handfast_server` by itself; elsewhere: `with FaultyServer() as server`.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Unpack

from . import _lifecycle, _native
from ._client import Client
from ._client_base import ConnectOptions
from ._logs import flush as flush_logs
from ._server import Server

__all__ = ["FaultyServer", "flush_logs"]

_PATIENCE = 1.0


class FaultyServer(Server):
    """An empty server in this process whose faults can be asked for.

    Its address stays the same whatever happens to it. All methods block, for milliseconds, and
    return when the fault is there.
    """

    def __init__(self) -> None:
        native: Any = _native.FaultyServer.start().wait()
        self._faulty: _native.FaultyServer = native
        self._native = native
        _lifecycle.started(self)

    def expire(self, app: str | None = None) -> int:
        """End the sessions of the programs called `app`, or all; returns how many there were.

        What they held is free at once, and they learn of it as after an expiry. A session that
        has begun just now is waited for, for a second.
        """
        deadline = time.monotonic() + _PATIENCE
        while True:
            # Who a session belongs to is written after it begins.
            ended = int(self._faulty.expire(app).wait())
            if ended > 0 or time.monotonic() > deadline:
                return ended
            time.sleep(0.01)

    def connect(self, **options: Unpack[ConnectOptions]) -> Client:
        """A client of this server; for asyncio give `handfast.aio.connect` its `endpoint`."""
        return Client(self.endpoint, **options)

    def stop(self) -> None:
        """Stop it: connections are refused until `restart`. Its data stays."""
        self._faulty.stop().wait()

    def restart(self) -> None:
        """Start it again, after a stop if it runs: connections break, no data is lost."""
        self._faulty.restart().wait()

    def disconnect(self) -> None:
        """Break every connection. Clients may connect again at once."""
        self._faulty.disconnect()

    def pause(self) -> None:
        """Let nothing pass between it and its clients, as in a partition. Connections stay up."""
        self._faulty.pause()

    def resume(self) -> None:
        """End a `pause`: what waited passes."""
        self._faulty.resume()

    @contextmanager
    def silent(self) -> Iterator[None]:
        """A pause for as long as the `with` block runs."""
        self.pause()
        try:
            yield
        finally:
            self.resume()

    def compact(self) -> int:
        """Discard all history; returns the revision that is left."""
        with Client(self.endpoint, app="handfast.testing") as client:
            revision = client.range("\0").revision
            client.compact(revision)
        return revision

    def close(self) -> None:
        """Stop it for good, and delete its data."""
        self._faulty.close().wait()

    _close_at_exit = close
