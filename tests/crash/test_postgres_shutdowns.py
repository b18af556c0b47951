"""PostgreSQL that is shut down at once, again and again, under many workers."""

from __future__ import annotations

import random
import statistics
from pathlib import Path

import pytest

from tests.crash.harness.counts import TORTURE, seeded
from tests.crash.harness.shutdowns import Storm, stored_turns, weathered
from tests.crash.harness.turns import said_in
from tests.services import postgres

pytestmark = pytest.mark.services

STORM = (
    Storm(workers=8, seconds=1800.0, calm=(1.0, 8.0), frozen=30.0, freezes=30)
    if TORTURE
    else Storm(workers=3, seconds=6.0, calm=(0.7, 1.5), frozen=2.5, freezes=2)
)


@pytest.mark.timeout(STORM.seconds + 600)
async def test_workers_go_on_whenever_the_server_is_back(tmp_path: Path) -> None:
    """No worker ends, none waits long once the server is back, whatever was acknowledged is there,
    each turn once; and nobody waits for a frozen server beyond the timeouts."""
    seed = random.randrange(2**32) if TORTURE else 1
    with seeded(seed) as chance, postgres.own_server() as server:
        figures = await weathered(STORM, server, tmp_path, chance)
        print(figures)  # `pytest -rP` shows it
        assert figures.frozen
        assert statistics.median(figures.resumed) <= 2.0, figures
        for name, said in (await stored_turns(server.dsn, sorted(figures.turns))).items():
            assert len(said) // 2 >= figures.turns[name], name
            assert said == said_in(len(said) // 2), name
