"""The scenarios, in the order in which they are shown."""

from __future__ import annotations

from benchmarks.measure import Scenario
from benchmarks.scenarios import (
    chat,
    concurrent,
    counts,
    fanout,
    large,
    loop,
    startup,
    streaming,
)

__all__ = ["SCENARIOS"]

SCENARIOS: tuple[Scenario, ...] = (
    counts.SCENARIO,
    loop.SCENARIO,
    concurrent.SCENARIO,
    fanout.SCENARIO,
    chat.SCENARIO,
    large.SCENARIO,
    streaming.SCENARIO,
    startup.SCENARIO,
)
