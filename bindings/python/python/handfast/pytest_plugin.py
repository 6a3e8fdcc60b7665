"""Fixtures for the tests of programs that use handfast; pytest finds them by itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from handfast.testing import FaultyServer


@pytest.fixture
def handfast_server() -> Iterator[FaultyServer]:
    """An empty server of the test's own, with faults on demand, stopped after it."""
    # Imported late: pytest loads plugins for every run, also where handfast is not used.
    from handfast.testing import FaultyServer

    with FaultyServer() as server:
        yield server
