"""How often things are tried, and with which seeds."""

from __future__ import annotations

import contextlib
import os
import random
from collections.abc import Iterator
from typing import Final

__all__ = ["TORTURE", "rounds", "seeded"]

TORTURE: Final = bool(os.environ.get("DURABLE_GRAPH_TORTURE"))
"""Whether the full counts are asked for."""


def rounds(usual: int, full: int) -> range:
    """Seeds of as many rounds as are asked for."""
    return range(full if TORTURE else usual)


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[random.Random]:
    """Random numbers for one round; if it fails, its error says which one it was."""
    try:
        yield random.Random(seed)
    except BaseException as error:
        error.add_note(f"The round with seed {seed}.")
        raise
