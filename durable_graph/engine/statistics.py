"""What graphs, savers and runs say of themselves, for a debugger and for metrics.

Everything is read off what is there anyway, or is a number that is counted up. Asking changes
nothing and waits for nothing.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass

__all__ = ["GraphStatistics", "RunStatistics", "SaverStatistics", "Tally"]


class Tally:
    """What is counted of a graph's runs; several event loops may run one graph."""

    __slots__ = ("_lock", "calls", "events", "running", "supersteps")

    def __init__(self) -> None:
        self.calls = self.running = self.supersteps = self.events = 0
        self._lock = threading.Lock()

    def begun(self) -> None:
        """Count a run in."""
        with self._lock:
            self.calls += 1
            self.running += 1

    def ended(self, supersteps: int, events: int) -> None:
        """Count a run out."""
        with self._lock:
            self.running -= 1
            self.supersteps += supersteps
            self.events += events


@dataclass(frozen=True, slots=True)
class GraphStatistics:
    """A graph, and what it has been used for in this process.

    Attributes:
        name: its name.
        nodes: how many nodes it has, without the start and the end.
        edges: how many edges its picture has.
        keys: how many keys its state has, private ones included.
        calls: how many runs it has begun, by `ainvoke`, `astream` and their sync names; those
            by what `with_config` returned count as well.
        running: how many of those have not ended.
        supersteps: how many supersteps those that have ended ran, all in all.
        events: how many events those that have ended gave to their watchers, all in all.
    """

    name: str
    nodes: int
    edges: int
    keys: int
    calls: int
    running: int
    supersteps: int
    events: int


@dataclass(frozen=True, slots=True)
class RunStatistics:
    """A run that is being watched.

    Attributes:
        state: "new" before the first event is asked for, then "running", at last "ended".
        supersteps: how many supersteps it has run.
        events: how many events it has had.
        waiting: how many of those nobody has taken yet.
    """

    state: str
    supersteps: int
    events: int
    waiting: int


@dataclass(frozen=True, slots=True)
class SaverStatistics:
    """A saver, and what it has done in this process.

    Attributes:
        loops: how many event loops use it, those that are gone left out; what follows counts
            what these have done.
        runs: how many threads they are running.
        unsettled: how many runs have ended without being able to store that, so that it is
            tried again.
        hot_threads: how many threads' states are at hand.
        hot_bytes: how many bytes these take, encoded.
        writes: how many appends they have handed to storage, tries that were repeated included.
        batches: in how many pieces: what waits at once is written together.
        write_seconds: how many seconds these took, all in all.
        beats: how many signs of life were stored, in writes or by themselves.
    """

    loops: int
    runs: int
    unsettled: int
    hot_threads: int
    hot_bytes: int
    writes: int
    batches: int
    write_seconds: float
    beats: int

    @property
    def seconds_per_batch(self) -> float:
        """How many seconds a batch takes on average; 0 if there was none."""
        return self.write_seconds / self.batches if self.batches else 0.0
