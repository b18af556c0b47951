"""A world for the engine to prove itself in: workers, threads, callers, and misfortune."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from durable_graph import Runtime
from durable_graph.graph.compiled import CompiledGraph
from durable_graph.testing.simulation.calls import CallRecord
from durable_graph.testing.simulation.faults import CALM, Faults
from durable_graph.testing.simulation.graphs import (
    GraphSpec,
    NodeSpec,
    SimulatedNodeError,
    random_graph,
    with_steps,
)
from durable_graph.testing.simulation.model import Model
from durable_graph.testing.simulation.simulate import Simulation, Worker
from durable_graph.testing.simulation.witness import Witness

__all__ = ["Thread", "World"]


@dataclass(slots=True)
class Thread:
    """What callers know of a thread.

    Attributes:
        name: its id.
        questions: questions that some caller has seen, by interrupt id.
        checkpoints: checkpoints that some caller has seen.
        inputs: inputs that were given.
        mood: how it stands, as far as some caller has seen: "new", "rests", "asks", "stopped".
    """

    name: str
    questions: dict[str, str] = field(default_factory=dict)
    checkpoints: list[str] = field(default_factory=list)
    inputs: list[dict[str, Any]] = field(default_factory=list)
    mood: str = "new"


class World:
    """A random graph, run by random callers on random workers.

    Attributes:
        graph: the graph.
        witness: sees all that happens.
        threads: the threads, as callers know them.
        calm_since: when the storm was over, in virtual time.
    """

    def __init__(self, simulation: Simulation) -> None:
        self.simulation = simulation
        self.numbers = simulation.numbers("world")
        graph = random_graph(simulation.numbers("graph"))
        self.graph: GraphSpec = with_steps(graph, simulation.numbers("steps"))
        definition = self.graph.build(self.act).compile().definition
        self.definition = definition
        self.witness = Witness(simulation, definition, Model(self.graph))
        self.threads = [Thread(f"t{n}") for n in range(self.numbers.choice((1, 1, 2, 2, 3, 6)))]
        self.calm_since = float("inf")
        self.running: dict[str, asyncio.Task[None]] = {}
        self._graphs: dict[str, CompiledGraph] = {}
        self._nodes = simulation.numbers("nodes")
        self._made = 0
        self._cancelled: set[str] = set()
        simulation.storage.observer = self.witness
        simulation.storage.faults = _faults(self.numbers)
        for _ in range(self.numbers.randint(1, 5)):
            self.start_worker()

    @property
    def calm(self) -> bool:
        """Whether nodes work quickly and without fault."""
        return self.simulation.loop.time() > self.calm_since

    # -- nodes ---------------------------------------------------------------------------------

    async def act(self, spec: NodeSpec, runtime: Runtime, when: str) -> None:
        """What every node does at its begin and its end, and in each of its steps."""
        numbers, note = self._nodes, self.simulation.note
        note("node", when, spec.name, runtime.thread_id, runtime.run_id, runtime.attempt)
        if when.startswith("begin"):
            self.witness.started(runtime)
            within = 1 <= runtime.attempt <= spec.attempts
            self.simulation.check(within, f"{spec.name} runs for the {runtime.attempt}. time.")
        if when.startswith("step"):
            self.witness.step_started(runtime, when.removeprefix("step "))
        if not when.endswith("at once"):
            await asyncio.sleep(self._pace(spec, numbers))
        if not self.calm and numbers.random() < spec.fails / 2:
            note("node fails", spec.name)
            raise SimulatedNodeError(spec.name)
        if when == "end":
            runtime.stream_writer({"done": spec.name})

    def _pace(self, spec: NodeSpec, numbers: random.Random) -> float:
        if spec.pace == "instant":
            return 0.0
        if self.calm or spec.pace == "quick":
            return numbers.uniform(0, 0.05)
        return numbers.uniform(0.05, 3) if spec.pace == "slow" else numbers.uniform(2, 20)

    # -- workers -------------------------------------------------------------------------------

    def start_worker(self) -> Worker:
        """Start a worker on a machine of its own, with a clock that may be wrong."""
        skew = self.numbers.choice((0.0, 0.0, -600.0, 600.0, self.numbers.uniform(-5, 5)))
        booted = self.numbers.uniform(0, 1e6)
        number = len(self.simulation.workers) + 1
        worker = self.simulation.worker(f"w{number}", skew=skew, booted=booted)
        self._graphs[worker.name] = CompiledGraph(self.definition, worker.saver)
        return worker

    def alive(self) -> list[Worker]:
        """The workers that have not crashed."""
        return [worker for worker in self.simulation.workers if worker.alive]

    def graph_of(self, worker: Worker) -> CompiledGraph:
        """The graph, as a worker has compiled it."""
        return self._graphs[worker.name]

    # -- calls ---------------------------------------------------------------------------------

    def new_call(self, kind: Any, thread: Thread, worker: Worker, **details: Any) -> CallRecord:
        """A call to be made."""
        self._made += 1
        now = self.simulation.loop.time()
        return CallRecord(f"c{self._made}", kind, thread.name, worker.name, now, **details)

    def make(
        self,
        call: CallRecord,
        worker: Worker,
        work: Callable[[], Coroutine[Any, Any, Any]],
        errors: Callable[[CallRecord, BaseException], None],
    ) -> asyncio.Task[None]:
        """Make a call in its worker; what comes of it is noted down and checked."""

        async def perform() -> None:
            try:
                call.value = await work()
                call.ended = call.ended or "returned"
            except asyncio.CancelledError as error:
                call.ended, call.error = "cancelled", error
                if call.id not in self._cancelled:
                    self.simulation.fail(f"{call} was cancelled by nobody.")
            except BaseException as error:
                call.error = error
                errors(call, error)
            if call.error is not None:
                note("ended", call, call.ended, type(call.error).__name__)
                call.error = call.error.with_traceback(None)
            else:
                note("ended", call, call.ended)
            self.witness.ended(call)

        note = self.simulation.note
        self.witness.begin(call)
        note("call", call)
        task = worker.start(perform(), call.id)
        self.running[call.id] = task
        return task

    def cancel(self, call: str) -> None:
        """Cancel a call that is under way."""
        self._cancelled.add(call)
        self.simulation.note("cancel", call)
        self.running[call].cancel()

    def under_way(self) -> list[str]:
        """Calls that are under way in workers that have not crashed."""
        self.running = {name: task for name, task in self.running.items() if not task.done()}
        alive = {worker.name for worker in self.alive()}
        calls = self.witness.calls
        return [name for name in self.running if calls[name].worker in alive]


def _faults(numbers: random.Random) -> Faults:
    """How bad a day it is."""
    way = numbers.random()
    if way < 0.15:
        return CALM
    if way < 0.3:
        return Faults(slow=0, busy=0, broken=0, lost=0, late=0, again=0)
    if way < 0.8:
        return Faults()
    return Faults(slow=0.1, busy=0.05, broken=0.02, lost=0.08, late=0.05, again=0.1)
