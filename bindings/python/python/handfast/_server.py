"""A server inside this process, for tests and small programs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from . import _lifecycle, _native
from ._frames import Closing


class Server(Closing):
    """A server that runs in this process; it serves when the constructor returns.

    Without `data_dir` its data goes away with it. It listens on a free port of this machine
    unless `listen` says otherwise.
    """

    def __init__(
        self,
        *,
        data_dir: str | os.PathLike[str] | None = None,
        listen: str = "127.0.0.1:0",
        name: str | None = None,
    ) -> None:
        folder = None if data_dir is None else Path(data_dir)
        native: Any = _native.Server.start(folder, listen, name).wait()
        self._native: _native.Server | _native.FaultyServer = native
        _lifecycle.started(self)

    @property
    def endpoint(self) -> str:
        """Its address, such as `http://127.0.0.1:2379`."""
        return self._native.endpoint

    @property
    def data_dir(self) -> Path:
        """The folder of its data."""
        return Path(self._native.data_dir)

    def close(self) -> None:
        """Stop it in order; does nothing at the second time."""
        self._native.stop().wait()

    _close_at_exit = close

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.endpoint}>"
