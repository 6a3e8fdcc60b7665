"""The scenarios that every language must pass, each a test by its id."""

from __future__ import annotations

import conformance
import pytest

SCENARIOS = conformance.scenarios()


@pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=list(SCENARIOS))
async def test_scenario(scenario):
    await conformance.play(scenario["steps"])


def test_there_are_scenarios():
    assert len(SCENARIOS) > 20
