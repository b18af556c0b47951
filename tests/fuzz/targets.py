"""All that is fuzzed, by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from tests.fuzz.of_envelopes import BINDINGS, ENVELOPES
from tests.fuzz.of_files import FILES
from tests.fuzz.of_records import BODIES, THREADS
from tests.fuzz.of_rows import CARDS, HEADS, OTHERS
from tests.fuzz.of_texts import CONFIGS, CURSORS, FILTERS
from tests.fuzz.of_values import VALUES
from tests.fuzz.target import Target

__all__ = ["TARGETS"]

TARGETS: Final[Mapping[str, Target]] = {
    target.name: target
    for target in (
        VALUES,
        BODIES,
        THREADS,
        HEADS,
        CARDS,
        OTHERS,
        FILES,
        ENVELOPES,
        BINDINGS,
        FILTERS,
        CONFIGS,
        CURSORS,
    )
}
