"""What this library has stored, as seeds: every record of the golden threads."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Final

from durable_graph.log.records import Record
from tests.golden.stored import to_record, to_things

__all__ = ["stored_heads", "stored_records"]

_FOLDER: Final = Path(__file__).parents[1] / "golden" / "format_2"


@cache
def stored_records() -> list[list[Record]]:
    """The records of each thread."""
    return [
        [to_record(thing) for kind, thing in to_things(path.read_text()) if kind == "record"]
        for path in sorted(_FOLDER.glob("*.records.txt"))
    ]


@cache
def stored_heads() -> list[dict[str, object]]:
    """The columns of each thread's head, by name."""
    return [
        thing
        for path in sorted(_FOLDER.glob("*.records.txt"))
        for kind, thing in to_things(path.read_text())
        if kind == "thread"
    ]
