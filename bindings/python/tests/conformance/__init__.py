"""Plays the scenarios of `tests/conformance` against the asyncio client; see its README."""

from __future__ import annotations

import asyncio
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path

from handfast.testing import FaultyServer

from .locks import Locks
from .player import Step, scenarios
from .recipes import Configs, Queues, Services

__all__ = ["play", "scenarios"]


class Everything(Locks, Queues, Services, Configs):
    """All verbs."""


async def play(steps: list[Step]) -> None:
    """Plays one scenario on a server of its own."""
    server = await asyncio.to_thread(FaultyServer)
    try:
        async with AsyncExitStack() as stack:
            # A snapshot may be on its way to it still.
            temporary = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
            folder = stack.enter_context(temporary)
            await Everything(server, stack, Path(folder)).play(steps)
    finally:
        await asyncio.to_thread(server.close)
