"""What all tests share: one server for the run, a client and a name of its own for each test."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator

import handfast
import pytest

LIMIT = 60.0

# A shell starts what runs in the background with Ctrl-C ignored, and so do its children start,
# these tests among them.
LISTEN_TO_CTRL_C = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
"""


@pytest.fixture(scope="session")
def server() -> Iterator[handfast.Server]:
    with handfast.Server() as server:
        yield server


@pytest.fixture
def hf(server: handfast.Server) -> Iterator[handfast.Client]:
    with handfast.connect(server.endpoint) as client:
        yield client


@pytest.fixture
def other(server: handfast.Server) -> Iterator[handfast.Client]:
    """Another program, as far as the server can tell."""
    with handfast.connect(server.endpoint, app="other") as client:
        yield client


@pytest.fixture
async def ahf(server: handfast.Server) -> AsyncIterator[handfast.aio.AsyncClient]:
    async with handfast.aio.connect(server.endpoint) as client:
        yield client


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """A name that no other test uses."""
    return f"t/{request.node.name}"


def eventually(condition: Callable[[], object]) -> None:
    """Wait until `condition` holds, for at most LIMIT seconds."""
    deadline = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.02)


@pytest.fixture(name="eventually")
def eventually_fixture() -> Callable[[Callable[[], object]], None]:
    return eventually


@pytest.fixture
def python() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts Python programs, and ends those that are left."""
    started: list[subprocess.Popen[str]] = []

    def start(program: str, *args: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", LISTEN_TO_CTRL_C + program, *args],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()
