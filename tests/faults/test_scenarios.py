"""structmode itself, disturbed: a part of each sweep, thinned out, and another part for each scenario."""

from __future__ import annotations

from typing import Literal

import pytest

from structmode.testing import Scenario, inject_faults

from .scenarios import SCENARIOS

# So many runs of each scenario on each backend fit into every day.
RUNS = 150


@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: type(scenario).__name__)
def test_scenario(scenario: Scenario, backend: Literal["asyncio", "trio"]) -> None:
    """Whatever goes wrong in it, the laws hold."""
    calm = inject_faults(scenario, backend, faults=[])
    every = max(1, 12 * sum(calm.moments.values()) // RUNS)
    sweep = inject_faults(scenario, backend, every=every, offset=every // 2)
    assert sweep.runs.total() + sweep.skipped.total() > RUNS // 2
