"""A cold start is quick: importing brings little along, and a crashed run goes on at once.

The wall clock of fresh processes: one that imports, and one that goes on with a thread on SQLite
whose process killed itself in its fifth superstep. The bare loop here is a Python that imports
nothing but asyncio and sqlite3.
"""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from functools import cache, partial
from pathlib import Path

from benchmarks.libraries import Library, libraries
from benchmarks.measure import BARE, Case, Figures, Metric, Room, Scenario

__all__ = ["SCENARIO"]

_ROOT = Path(__file__).resolve().parents[2]
_CHILD = "benchmarks.crash"
_MODULES = "import sys; print(len(sys.modules))"
_PACKAGES = (
    "import sys; before = set(sys.modules); import durable_graph; "
    "names = {n.partition('.')[0] for n in set(sys.modules) - before}; "
    "names = {n for n in names if n[0] != '_'} - {'durable_graph'}; "
    "print(*sorted(names - sys.stdlib_module_names)); "
    "print(*sorted(names & sys.stdlib_module_names))"
)

_METRICS = (Metric("wall", "ms"), Metric("cpu", "CPU ms"), Metric("user", "of it user"))


def _cases() -> Sequence[Case]:
    plain = {library.name: partial(_import, library.module) for library in libraries()}
    stored = {library.name: partial(_import, library.sqlite_module) for library in libraries()}
    resumes = {library.name: partial(_resume, library) for library in libraries()}
    least = {BARE: partial(_import, "asyncio, sqlite3")}
    metrics = (*_METRICS, Metric("modules", "modules loaded"))
    return [
        Case("import", {**plain, **least}, metrics, notes=_imported),
        Case("import, with SQLite", {**stored, **least}, metrics),
        Case("go on after a crash", resumes, _METRICS),
    ]


def _import(modules: str, room: Room) -> Figures:
    figures, output = _timed("-c", f"import {modules}; {_MODULES}")
    return {**figures, "modules": float(output)}


def _resume(library: Library, room: Room) -> Figures:
    command = ["-m", _CHILD, library.name, str(room.path / "threads.db")]
    first = subprocess.run(
        [sys.executable, *command, "crash"], cwd=_ROOT, check=False, timeout=60, capture_output=True
    )
    assert first.returncode == -signal.SIGKILL, first.stderr.decode()
    figures, output = _timed(*command, "resume")
    assert output == "10", f"{library} went on to {output!r}"
    return figures


def _timed(*arguments: str) -> tuple[Figures, str]:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=_ROOT,
        check=True,
        timeout=60,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": ""},
    )
    wall = time.perf_counter() - began
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    user, system = after.ru_utime - before.ru_utime, after.ru_stime - before.ru_stime
    figures = {"wall": wall * 1e3, "cpu": (user + system) * 1e3, "user": user * 1e3}
    return figures, done.stdout.decode().strip()


@cache
def _imported() -> Sequence[str]:
    _, output = _timed("-c", _PACKAGES)
    packages, stdlib = (output + "\n").split("\n")[:2]
    return [
        f"import durable_graph loads, beyond the standard library: {packages or 'nothing'}",
        f"and of the standard library: {stdlib}",
    ]


SCENARIO = Scenario("startup", __doc__, _cases)
