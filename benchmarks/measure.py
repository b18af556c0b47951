"""What a benchmark is made of: cases, the systems in them, and how they are measured.

Machines are noisy, and a noisy minute hits whoever happens to run in it. So all systems of a case
run in turn inside one repetition, ratios are taken inside that repetition, and what is reported is
the median over the repetitions, with the extremes beside it.
"""

from __future__ import annotations

import asyncio
import gc
import resource
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Self, TypeAlias, TypeVar

__all__ = [
    "BARE",
    "OURS",
    "PEER",
    "Case",
    "Figures",
    "Lane",
    "Metric",
    "Ratio",
    "Results",
    "Room",
    "Scenario",
    "Stopwatch",
    "per_unit",
    "run_case",
]

T = TypeVar("T")

OURS = "durable_graph"
PEER = "LangGraph"
BARE = "bare loop"
"""The least work that gives the same outcome, written by hand."""

Figures: TypeAlias = Mapping[str, float]
"""What one execution measured: metric by name."""


@dataclass(frozen=True, slots=True)
class Metric:
    """One figure of a case.

    Attributes:
        name: what it is called in a lane's figures.
        unit: shown beside it.
        better: whether more or less of it is better.
        floor: what it is promised to be, at least or (where less is better) at most.
        share: the promised share of the bare loop's speed, from 0 to 1.
        shown: whether the table has it; the JSON always has.
    """

    name: str
    unit: str
    better: Literal["more", "less"] = "less"
    floor: float | None = None
    share: float | None = None
    shown: bool = True


class Room:
    """Where one execution of a lane takes place: a folder of its own, and a size.

    Attributes:
        path: an empty folder, removed afterwards.
        quick: whether to measure little, to see that it works at all.
    """

    def __init__(self, path: Path, *, quick: bool) -> None:
        self.path = path
        self.quick = quick

    def size(self, full: int, quick: int) -> int:
        """How much to do."""
        return quick if self.quick else full

    @staticmethod
    def run(work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on an event loop of its own."""
        return asyncio.run(work)


Lane: TypeAlias = Callable[[Room], Figures]
"""Executes a case on one system."""


@dataclass(frozen=True, slots=True)
class Case:
    """One comparison.

    Attributes:
        name: what is done.
        lanes: by system.
        metrics: what every lane measures.
        notes: asked for at the end: lines that say more than numbers do.
    """

    name: str
    lanes: Mapping[str, Lane]
    metrics: Sequence[Metric]
    notes: Callable[[], Sequence[str]] = tuple


@dataclass(frozen=True, slots=True)
class Scenario:
    """Cases that measure one promise.

    Attributes:
        name: short, for ``--only``.
        promise: what is promised; the module's docstring.
        cases: made when they are wanted.
    """

    name: str
    promise: str
    cases: Callable[[], Sequence[Case]]


@dataclass(frozen=True, slots=True)
class Ratio:
    """How many times better one system is than another: median, least and most."""

    median: float
    least: float
    most: float


@dataclass(slots=True)
class Results:
    """What the repetitions of a case measured: system, metric, one value per repetition."""

    case: Case
    values: dict[str, dict[str, list[float]]] = field(default_factory=dict)

    def add(self, system: str, figures: Figures) -> None:
        """Take in one execution."""
        kept = self.values.setdefault(system, {})
        for name, value in figures.items():
            kept.setdefault(name, []).append(value)

    def median(self, system: str, metric: Metric) -> float | None:
        """The median of a metric, if this system measured it."""
        values = self.values.get(system, {}).get(metric.name)
        return statistics.median(values) if values else None

    def ratio(self, metric: Metric, system: str, other: str) -> Ratio | None:
        """How many times better `system` is than `other`: above 1 it is better."""
        ours = self.values.get(system, {}).get(metric.name)
        theirs = self.values.get(other, {}).get(metric.name)
        if not ours or not theirs or len(ours) != len(theirs) or 0 in ours or 0 in theirs:
            return None
        pairs = zip(ours, theirs, strict=True)
        ratios = [a / b if metric.better == "more" else b / a for a, b in pairs]
        return Ratio(statistics.median(ratios), min(ratios), max(ratios))


class Stopwatch:
    """Times a block: wall clock, and the CPU time of this process with all its threads."""

    def __init__(self) -> None:
        self.seconds = self.user = self.system = 0.0

    def __enter__(self) -> Self:
        before = resource.getrusage(resource.RUSAGE_SELF)
        self.user, self.system = before.ru_utime, before.ru_stime
        self.seconds = time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds = time.perf_counter() - self.seconds
        after = resource.getrusage(resource.RUSAGE_SELF)
        self.user = after.ru_utime - self.user
        self.system = after.ru_stime - self.system

    @property
    def cpu(self) -> float:
        """User and system time together. The kernel knows this sum exactly; how it divides is
        sampled every few milliseconds, and so only means something over longer blocks."""
        return self.user + self.system

    def per(self, amount: int) -> Figures:
        """The figures of `per_unit`, for so many units done in the time."""
        return {
            "rate": amount / self.seconds,
            "cpu": self.cpu / amount * 1e6,
            "user": self.user / amount * 1e6,
        }


def per_unit(
    unit: str, *, floor: float | None = None, share: float | None = None
) -> tuple[Metric, ...]:
    """The metrics of work that is counted in units, such as supersteps."""
    return (
        Metric("rate", f"{unit}s/s", "more", floor, share),
        Metric("cpu", f"CPU µs/{unit}"),
        Metric("user", "of it user"),
    )


def run_case(
    case: Case,
    repeat: int,
    *,
    quick: bool,
    folder: Path | None = None,
    progress: Callable[[int, str], None] = lambda repetition, system: None,
) -> Results:
    """Execute a case so many times, its systems in turn.

    Args:
        case: the case.
        repeat: how many times.
        quick: whether to measure little.
        folder: where files are written; by default where the system has its temporary ones.
        progress: told what is about to run.
    """
    results = Results(case)
    systems = list(case.lanes)
    for repetition in range(repeat):
        # Nobody is always first: what one leaves behind (a warm disk cache, a queue of writes)
        # meets each in turn.
        turn = repetition % len(systems)
        for system in systems[turn:] + systems[:turn]:
            progress(repetition, system)
            results.add(system, _execute(case.lanes[system], quick=quick, folder=folder))
    return results


def _execute(lane: Lane, *, quick: bool, folder: Path | None) -> Figures:
    path = Path(tempfile.mkdtemp(prefix="benchmark-", dir=folder))
    gc.collect()
    # What is alive now (modules, for the most part) is nothing that the lane made: the collector
    # need not walk over it while it is timed.
    gc.freeze()
    try:
        return lane(Room(path, quick=quick))
    finally:
        gc.unfreeze()
        shutil.rmtree(path, ignore_errors=True)
