"""The scenarios that every language must pass, each a test by its id."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import conformance
import pytest

SCENARIOS = conformance.scenarios()


@pytest.fixture(scope="module")
def passed() -> Iterator[list[str]]:
    """The ids of those that passed, for the page that says what each language passes."""
    ids: list[str] = []
    yield ids
    if folder := os.environ.get("HANDFAST_CONFORMANCE"):
        Path(folder).mkdir(parents=True, exist_ok=True)
        (Path(folder) / "python.txt").write_text("".join(f"{one}\n" for one in ids))


@pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=list(SCENARIOS))
async def test_scenario(scenario, passed):
    if reason := scenario.get("not_for", {}).get("python"):
        pytest.skip(reason)
    await conformance.play(scenario["steps"])
    passed.append(scenario["id"])


def test_there_are_scenarios():
    assert len(SCENARIOS) > 20
