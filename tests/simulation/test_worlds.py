"""The simulated worlds are as eventful as they are meant to be: quiet ones would prove nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import pytest

from tests.simulation.histories import CHUNKS, Report, usual

_EVENTS: Final[Mapping[int, tuple[str, ...]]] = {
    # In one of fifteen histories, or more.
    20: (
        # to processes
        *("start", "crash", "pause", "resume"),
        # to calls on their way to the storage, and to their answers
        *("storage fine", "storage busy", "storage broken", "storage lost", "storage late"),
        *("arrives again", "append known already", "append refused"),
        # to runs
        *("sync", "async", "exit"),
        *("input returned", "input refused", "input failed", "input unknown"),
        *("input cancelled", "input left", "go on returned", "go on cancelled"),
        *("command returned", "answer returned", "answer refused", "answer cancelled"),
        *("node", "node fails", "retry", "cancel", "take-over"),
        *("mark failed", "mark stopped", "mark resumed", "mark taken over"),
        *("ThreadBusyError", "FencedError", "PendingInterruptsError", "UnknownInterruptError"),
        # to threads
        *("commit by input", "commit by loop", "commit by update", "branch"),
        *("delta", "snapshot", "large values", "join waits", "packets due"),
        *("task results", "Steps", "question", "answers", "rot"),
        *("edit returned", "edit refused", "state returned", "history returned"),
        *("prune returned", "delete returned", "list returned"),
    ),
    # Less often.
    10: ("message taken up", "removes bodies"),
    # Now and then.
    3: (
        *("storage never", "commit by fork", "removes a thread"),
        *("command left", "answer failed", "answer left", "GraphRecursionError"),
        *("AmbiguousAnswerError", "CheckpointNotFoundError"),
    ),
    1: ("mark asking",),
}


@pytest.mark.timeout(300)  # if it is run alone, it is the first to run all the histories
def test_everything_that_can_happen_has_happened() -> None:
    """In the histories of the first 300 seeds each kind of event has its place."""
    report = Report()
    for chunk in CHUNKS:
        report.add(usual(chunk))
    missing = {
        kind: report.seeds[kind]
        for least, kinds in _EVENTS.items()
        for kind in kinds
        if report.seeds[kind] < least
    }
    assert not missing, f"Too seldom: {missing}, of all this: {sorted(report.seeds.items())}"
