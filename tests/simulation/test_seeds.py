"""Scenario 65: whatever befalls the engine, it keeps its promises, in every history of a seed."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Final

import pytest

from tests.crash.harness.counts import TORTURE
from tests.simulation.histories import CHUNKS, explore_apart, told, usual

_SEEDS: Final = 20_000
_CHUNK: Final = 500
_PATIENCE: Final = 900.0
"""Seconds for a chunk, which takes 40 on an idle machine."""


@pytest.mark.parametrize("chunk", CHUNKS, ids=lambda chunk: f"{chunk.start} to {chunk.stop - 1}")
def test_the_engine_keeps_its_promises(chunk: range) -> None:
    """Nothing is wrong in the histories of the first 300 seeds."""
    wrong = usual(chunk).wrong
    assert not wrong, told(wrong)


@pytest.mark.torture
@pytest.mark.skipif(not TORTURE, reason="takes half an hour: make torture")
def test_the_engine_keeps_its_promises_for_long() -> None:
    """Nothing is wrong in the histories of 20,000 seeds; all that is gets told at once."""
    chunks = [range(first, first + _CHUNK) for first in range(0, _SEEDS, _CHUNK)]
    wrong: dict[int, str] = {}
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for found in pool.map(partial(explore_apart, seconds=_PATIENCE), chunks):
            wrong |= found
    assert not wrong, told(wrong)
