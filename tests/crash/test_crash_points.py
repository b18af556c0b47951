"""Scenario 2: a crash before and after every storage call, whatever the graph and the script."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from durable_graph.types import Durability
from tests.crash.harness.counts import TORTURE
from tests.crash.harness.places import EMULATED, SERVERS
from tests.crash.harness.round import Round
from tests.crash.harness.scripts import SCRIPTS, SHAPES
from tests.crash.harness.storage import StorageKind

# Calls to memory never wait, so that "async" is the same there as "sync".
LEVELS: dict[StorageKind, tuple[Durability, ...]] = {
    "memory": ("sync", "async", "exit") if TORTURE else ("sync", "exit"),
    "sqlite": ("sync", "async", "exit"),
}
# What a level means is the engine's, and the same everywhere.
AT_SERVERS: tuple[Durability, ...] = ("sync", "async", "exit") if TORTURE else ("sync",)
PLACES: tuple[tuple[str, tuple[Durability, ...], list[pytest.MarkDecorator]], ...] = (
    *((kind, levels, []) for kind, levels in LEVELS.items()),
    *((kind, AT_SERVERS, [pytest.mark.services]) for kind in SERVERS),
    *((kind, ("sync",), [pytest.mark.services]) for kind in EMULATED),
)
# What one write at the end does to a file does not depend on the shape of the graph; what a server
# does with a call, little.
FEW_SHAPES = ("chain", "fan_out", "questions", "update")
# Where a life takes half a second, the shapes share the calls among them.
AT_EMULATORS = ("chain", "fan_out", "update")


def tried(name: str, kind: StorageKind) -> bool:
    """Whether a shape is cut off there at all."""
    if TORTURE or kind in LEVELS:
        return True
    return name in (AT_EMULATORS if kind in EMULATED else FEW_SHAPES)


def calls_between(kind: StorageKind) -> int:
    """From one call that is died at to the next one."""
    return 6 if kind in EMULATED and not TORTURE else 1


def cases(*names: str) -> list[Any]:
    """Scripts on every backend, at every level at which they make sense."""
    return [
        pytest.param(name, kind, level, id=f"{name}-{kind}-{level}", marks=marks)
        for name in names
        for kind, levels, marks in PLACES
        for level in levels
        # A history of one checkpoint has nothing to branch off.
        if not (level == "exit" and SCRIPTS[name].branches > 1)
        if tried(name, kind)
        if TORTURE or name in FEW_SHAPES or (kind, level) != ("sqlite", "exit")
    ]


@pytest.mark.parametrize(("name", "kind", "level"), cases(*SHAPES))
async def test_a_crash_at_any_storage_call_changes_nothing(
    name: str, kind: StorageKind, level: Durability, tmp_path: Path
) -> None:
    """Whatever call a process dies at, the next one brings the thread to the same end."""
    script = SCRIPTS[name]
    undisturbed = Round(script, level, kind, tmp_path / "undisturbed")
    calls = (await undisturbed.live()).calls
    expected = await undisturbed.ending()
    between = calls_between(kind)
    for when in ("before", "after"):
        at, crashed = SHAPES.index(name) % between + 1 - between, True
        while crashed:
            at += between
            assert at < 200, "it never comes through"
            one = Round(script, level, kind, tmp_path / f"{when}-{at}")
            crashed = (await one.live(at, when)).crashed
            if crashed:
                await one.live()
            try:
                await one.check(expected)
            except AssertionError as error:
                error.add_note(f"After a crash {when} call {at} of {calls}.")
                raise
    print(f"{name}, {kind}, {level}: {len(calls)} call sites, {dict(Counter(calls))}")


@pytest.mark.parametrize(
    ("name", "kind", "level"),
    [
        case
        for case in cases(*(SHAPES if TORTURE else ("chain", "questions", "fork")))
        if TORTURE or case.values[1] not in EMULATED
    ],
)
async def test_a_crash_at_any_storage_call_of_a_recovery_changes_nothing(
    name: str, kind: StorageKind, level: Durability, tmp_path: Path
) -> None:
    """A process that dies while it recovers is recovered from like any other."""
    script = SCRIPTS[name]
    undisturbed = Round(script, level, kind, tmp_path / "undisturbed")
    calls = len((await undisturbed.live()).calls)
    expected = await undisturbed.ending()
    # Every twelfth pair will do, except where there is time.
    every = TORTURE and kind not in EMULATED
    for first in range(2, calls, 1 if every else 4):
        for second in range(1, calls + 2, 1 if every else 3):
            one = Round(script, level, kind, tmp_path / f"{first}-{second}")
            await one.live(first, "after")
            await one.live(second, "after" if second % 2 else "before")
            await one.live()
            try:
                await one.check(expected)
            except AssertionError as error:
                error.add_note(f"After crashes at call {first} and then at call {second}.")
                raise
