"""The shim between a database and the kernel: built here, its journal read, disks made of it."""

from __future__ import annotations

import os
import random
import shutil
import struct
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

__all__ = [
    "ACKS",
    "ENTRY_SIZE",
    "FILES",
    "Entry",
    "build",
    "disk_after",
    "environment",
    "read_journal",
]

CREATED, WRITTEN, TRUNCATED, SYNCED, UNLINKED, FAILED, TOLD = range(1, 8)
FILES: Final = {1: "", 2: "-wal", 3: "-journal"}
"""What is appended to the database's name, for each file whose content counts."""

ACKS: Final = 4
FOLDER: Final = 5
_ENTRY: Final = struct.Struct("<BBHIq")
ENTRY_SIZE: Final = _ENTRY.size
"""Of an entry in the journal, what was written apart."""

_SECTOR: Final = 512


@dataclass(slots=True)
class Entry:
    """One thing that was done to a file.

    Attributes:
        what: CREATED, WRITTEN, TRUNCATED, SYNCED, UNLINKED or FAILED; TOLD: somebody was answered.
        file: which one: a key of `FILES`, `ACKS`, or `FOLDER`.
        offset: where; for TRUNCATED the new size; -1 for a sync that failed.
        data: what was written.
    """

    what: int
    file: int
    offset: int
    data: bytes


def build(folder: Path) -> Path:
    """The shim, compiled; skips the test where there is no compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        pytest.skip("there is no C compiler")
    library = folder / "shim.so"
    source = Path(__file__).with_name("shim.c")
    flags = ["-O1", "-Wall", "-Werror", "-shared", "-fPIC"]
    command = [compiler, *flags, "-o", str(library), str(source), "-ldl", "-lpthread"]
    built = subprocess.run(command, check=False, capture_output=True, text=True)
    if built.returncode != 0 and "LD_PRELOAD" not in os.environ:
        pytest.skip(f"the shim cannot be built here: {built.stderr[:300]}")
    return library


def environment(library: Path, database: Path, journal: Path | None = None) -> dict[str, str]:
    """What a process needs to run under the shim."""
    found = {"LD_PRELOAD": str(library), "SHIM_DATABASE": str(database)}
    return found if journal is None else {**found, "SHIM_JOURNAL": str(journal)}


def read_journal(path: Path) -> list[Entry]:
    """Everything that was done, in order."""
    data, place = path.read_bytes(), 0
    entries = []
    while place < len(data):
        what, file, _, length, offset = _ENTRY.unpack_from(data, place)
        place += _ENTRY.size
        entries.append(Entry(what, file, offset, data[place : place + length]))
        place += length
    return entries


def disk_after(
    entries: Sequence[Entry], chance: random.Random, *, honest: bool = True
) -> dict[str, bytes]:
    """What a disk may hold when the power fails after these entries, by `FILES`' endings.

    Everything that a sync has confirmed is there. Of what was written later, each write is there,
    or not, or only some of its sectors are; and a file's removal may be forgotten until the folder
    is synced. A sync that fails lets the kernel forget what it should have written: no later sync
    confirms that.

    Args:
        entries: what was done before the power failed.
        chance: decides what is there.
        honest: whether the disk does what a sync asks for.
    """
    disk: dict[str, bytes] = {}
    for file, ending in FILES.items():
        own = [
            entry
            for entry in entries
            if entry.file == file or (entry.file, entry.what) == (FOLDER, SYNCED)
        ]
        certain = _certain(own, file) if honest else set()
        content: bytearray | None = None
        for place, entry in enumerate(own):
            if entry.what == UNLINKED:
                # The last thing that happened to its name, and no sync of the folder behind it.
                forgotten = place == len(own) - 1 and chance.random() < 0.5
                content = content if forgotten else None
                continue
            if entry.what == CREATED:
                content = bytearray() if content is None else content
            if content is not None and entry.what in (WRITTEN, TRUNCATED):
                _apply(content, entry, None if place in certain else chance)
        if content is not None:
            disk[ending] = bytes(content)
    return disk


def _certain(own: Sequence[Entry], file: int) -> set[int]:
    """Which of the entries of a file a sync has confirmed."""
    certain: set[int] = set()
    pending: set[int] = set()
    for place, entry in enumerate(own):
        if entry.file == file and entry.what == SYNCED:
            certain |= pending
            pending = set()
        elif entry.what == FAILED and entry.offset == -1:
            pending = set()
        elif entry.what in (WRITTEN, TRUNCATED):
            pending.add(place)
    return certain


def _apply(content: bytearray, entry: Entry, chance: random.Random | None) -> None:
    """Do to a file what an entry did; by chance not, or in part."""
    fate = "whole" if chance is None else chance.choice(["whole", "lost", "torn"])
    if fate == "lost":
        return
    if entry.what == TRUNCATED:
        del content[entry.offset :]
        content.extend(bytes(entry.offset - len(content)))
        return
    for start in range(0, len(entry.data), _SECTOR):
        if fate == "torn" and chance is not None and chance.random() < 0.5:
            continue
        part = entry.data[start : start + _SECTOR]
        place = entry.offset + start
        content.extend(bytes(max(0, place + len(part) - len(content))))
        content[place : place + len(part)] = part
