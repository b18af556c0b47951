"""What was really done: a file beside the library, and what it says about a survey.

The library stores what a task returned. This log stores, line by line and process by process,
that the work of a task was begun and that its result was acknowledged; a killed process leaves
both behind. So it can tell whether the library keeps its word.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

__all__ = ["Check", "EffectLog", "checks_of"]

What = Literal["analysed", "acknowledged"]


@dataclass(frozen=True, slots=True)
class Check:
    """Something that must hold, whether it does, and what was seen."""

    what: str
    holds: bool
    seen: str


@dataclass(frozen=True, slots=True)
class EffectLog:
    """A file with a line for every effect.

    Attributes:
        path: the file.
        process: who writes.
    """

    path: Path
    process: str

    def add(self, what: What, file: str) -> None:
        """Write a line, in one append that no other writer can cut in two."""
        line = json.dumps({"process": self.process, "what": what, "file": file}) + "\n"
        handle = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            os.write(handle, line.encode())
        finally:
            os.close(handle)

    def files(self, what: What, process: str | None = None) -> list[str]:
        """The files that something was done to, as often as it was done; by one process, or all."""
        return [
            line["file"]
            for line in self._lines()
            if line["what"] == what and process in (None, line["process"])
        ]

    def _lines(self) -> Iterator[dict[str, str]]:
        if self.path.exists():
            for line in self.path.read_text().splitlines():
                yield json.loads(line)


def checks_of(
    files: Collection[str],
    finished: Collection[str],
    in_state: Sequence[str],
    log: EffectLog,
    at_once: int,
) -> list[Check]:
    """What must hold for a survey whose first process was killed and whose second went on.

    Args:
        files: what was to be surveyed.
        finished: the files whose facts were stored when the first process died.
        in_state: the files of the facts at the end.
        log: what both processes did.
        at_once: how many files are analysed at once.
    """
    analysed = Counter(log.files("analysed"))
    told = set(log.files("acknowledged", "first"))
    in_flight = set(log.files("analysed", "first")) - set(finished)
    twice = {file for file, times in analysed.items() if times > 1}
    missed = set(files) - set(analysed)
    kept = Counter(in_state)
    return [
        Check(
            "it died in the middle of the fan-out",
            len(finished) < len(files),
            f"{len(finished)} of {len(files)} finished, {len(in_flight)} in flight",
        ),
        Check(
            "only what was in flight was lost",
            len(in_flight) <= at_once,
            f"{len(in_flight)} begun and not stored",
        ),
        Check(
            "what was acknowledged is stored",
            told <= set(finished),
            f"{len(told)} acknowledged, {len(told - set(finished))} of them lost",
        ),
        Check(
            "no finished file was analysed twice",
            all(analysed[file] == 1 for file in finished),
            f"{len(twice & set(finished))} of {len(finished)} analysed again",
        ),
        Check(
            "only what was in flight was analysed again",
            twice <= in_flight and all(analysed[file] == 2 for file in twice),
            f"{len(twice)} analysed again",
        ),
        Check("no file was missed", not missed, f"{len(missed)} of {len(files)} missed"),
        Check(
            "every file is in the state exactly once",
            kept == Counter(files),
            f"{len(in_state)} facts about {len(kept)} files",
        ),
    ]
