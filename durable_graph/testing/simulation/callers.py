"""Callers who know little, and do at random what callers do."""

from __future__ import annotations

import random
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

from durable_graph import END, START, Command, Interrupt
from durable_graph.errors import (
    CheckpointNotFoundError,
    FencedError,
    GraphRecursionError,
    InvalidUpdateError,
    RunError,
    StorageError,
    ThreadNotFoundError,
)
from durable_graph.graph.compiled import CompiledGraph
from durable_graph.testing.simulation.calls import CallRecord, Kind
from durable_graph.testing.simulation.graphs import SimulatedNodeError
from durable_graph.testing.simulation.simulate import Worker
from durable_graph.testing.simulation.world import Thread, World
from durable_graph.types import RunnableConfig, StreamMode

__all__ = ["Callers"]

T = TypeVar("T")

_WEIGHTS: Mapping[Kind, int] = {
    "input": 30,
    "go on": 14,
    "answer": 8,
    "command": 4,
    "edit": 6,
    "state": 6,
    "history": 4,
    "delete": 1,
    "prune": 4,
    "list": 1,
}

_MOODS: Mapping[str, Mapping[Kind, int]] = {
    "new": {"go on": 3, "answer": 3, "edit": 3, "history": 1, "prune": 1},
    "rests": {},
    "asks": {"input": 10, "go on": 8, "answer": 50},
    "stopped": {"input": 15, "go on": 40},
}


class Callers:
    """Makes random calls in a world.

    Args:
        world: the world.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self._numbers: random.Random = world.numbers
        self._threads = {thread.name: thread for thread in world.threads}
        self._plain = [name for name, spec in world.graph.nodes.items() if not spec.packet]

    def call(self, worker: Worker, thread: Thread) -> CallRecord:
        """Make some call."""
        weights = {**_WEIGHTS, **_MOODS[self._mood(thread)]}
        kind = self._numbers.choices(list(weights), weights=list(weights.values()))[0]
        call = self._world.new_call(kind, thread, worker)
        travels = kind in ("input", "go on", "answer", "edit", "state")
        if travels and thread.checkpoints and self._numbers.random() < 0.12:
            call.checkpoint = self._numbers.choice(thread.checkpoints)
        graph = self._world.graph_of(worker)
        work: Callable[[], Coroutine[Any, Any, Any]]
        match kind:
            case "input" | "go on" | "command":
                work = partial(self._run_call, call, thread, graph)
            case "answer":
                work = partial(self._answer, call, thread, graph)
            case "edit":
                work = partial(self._edit, call, thread, graph)
            case "state":
                work = partial(self._state, call, thread, graph)
            case "history":
                work = partial(self._history, call, thread, graph)
            case "delete":
                work = partial(worker.saver.adelete_thread, thread.name)
            case "prune":
                call.keep = self._numbers.randint(1, 4)
                work = partial(worker.saver.aprune, [thread.name], keep=call.keep)
            case _:
                work = partial(self._list, worker)
        self._world.make(call, worker, work, self.classify)
        return call

    def _mood(self, thread: Thread) -> str:
        """How a thread stands, for the weights: also whether a run that goes on asks something."""
        chronicle = self._world.witness.chronicle(thread.name)
        return "asks" if chronicle is not None and chronicle.open_questions else thread.mood

    def saw(self, thread: Thread, value: Any) -> None:
        """A caller has seen the values of a thread, as a call returns them."""
        asked = value.get("__interrupt__", ())
        self.learn(thread, asked)
        thread.mood = "asks" if asked else "rests"

    def classify(self, call: CallRecord, error: BaseException) -> None:
        """What an error means to a caller."""
        # In calm weather only what was begun in the storm may still fail.
        calm = call.begun > self._world.calm_since
        if call.kind in ("input", "go on", "answer") and not isinstance(error, RunError):
            self._threads[call.thread].mood = "stopped"
        match error:
            case RunError() | CheckpointNotFoundError() | ThreadNotFoundError():
                call.ended = "refused"
            case InvalidUpdateError() if call.kind == "edit" and call.node is None:
                call.ended = "refused"
            case FencedError():
                call.ended = "unknown"
            case StorageError() if not calm:
                call.ended = "unknown"
            case SimulatedNodeError() | GraphRecursionError() if not calm:
                call.ended = "failed"
            case _:
                call.ended = "unknown"
                self._world.simulation.fail(f"{call} ended with {error!r}.")

    def config(self, call: CallRecord) -> RunnableConfig:
        """The config of a call."""
        names: dict[str, Any] = {"thread_id": call.thread}
        if call.checkpoint is not None:
            names["checkpoint_id"] = call.checkpoint
        return {"configurable": names, "run_id": call.id}

    def learn(self, thread: Thread, asked: Iterable[Interrupt]) -> None:
        """Remember the questions that were seen."""
        for interrupt in asked:
            thread.questions[interrupt.id] = interrupt.value

    # -- calls that run the graph --------------------------------------------------------------

    def _run_call(
        self, call: CallRecord, thread: Thread, graph: CompiledGraph
    ) -> Coroutine[Any, Any, Any]:
        given: Any = None
        if call.kind == "input":
            given = {"log": [f"in:{call.id}"], "total": 1}
            if thread.inputs and self._numbers.random() < 0.25:
                given = thread.inputs[-1]
            thread.inputs.append(given)
            call.update = given
        elif call.kind == "command":
            call.update = {"log": [f"up:{call.id}"], "total": 1}
            call.goto = tuple(self._some(self._plain))
            given = Command(update=dict(call.update), goto=list(call.goto))
        return self._run(call, thread, graph, given)

    async def _answer(self, call: CallRecord, thread: Thread, graph: CompiledGraph) -> Any:
        numbers = self._numbers
        seen: Sequence[Interrupt] = ()
        if numbers.random() < 0.7:
            snapshot = await graph.aget_state({"configurable": {"thread_id": call.thread}})
            seen = snapshot.interrupts
            self.learn(thread, seen)
        given = {f"a{call.id}.{n}!{i.value}": i.id for n, i in enumerate(seen)}
        way = numbers.random()
        resume: Any = {name: text for text, name in given.items()}
        if not seen or way < 0.1:
            names = sorted(thread.questions)
            name = (
                numbers.choice(names) if names and way < 0.5 else f"{numbers.getrandbits(128):032x}"
            )
            resume = {name: f"a{call.id}.0!{thread.questions.get(name, '*')}"}
        elif way < 0.3:
            resume = f"a{call.id}.0!{seen[0].value if len(seen) == 1 and way < 0.2 else '*'}"
            if "*" not in resume:
                resume = f"a{call.id}.0!*"
        elif way < 0.75:
            name = numbers.choice(sorted(resume))
            resume = {name: resume[name]}
        call.answers = dict(resume) if isinstance(resume, dict) else {"": resume}
        if numbers.random() < 0.08:
            call.update = {"log": [f"up:{call.id}"], "total": 1}
            call.goto = tuple(self._some(self._plain))
            command: Command[Any] = Command(
                resume=resume, update=dict(call.update), goto=list(call.goto)
            )
        else:
            command = Command(resume=resume)
        return await self._run(call, thread, graph, command)

    async def _run(self, call: CallRecord, thread: Thread, graph: CompiledGraph, given: Any) -> Any:
        numbers = self._numbers
        call.durability = numbers.choice(("sync", "sync", "sync", "async", "exit"))
        if call.kind == "command" or (call.answers and call.update):
            call.durability = "sync"
        config = self.config(call)
        options: dict[str, Any] = {"durability": call.durability}
        if call.kind in ("input", "command"):
            ways = ("reject", "supersede", "answer") if call.kind == "input" else ("supersede",)
            options["on_pending"] = numbers.choice(ways)
        if numbers.random() < 0.08:
            config["recursion_limit"] = numbers.randint(1, 4)
        if numbers.random() < 0.2:
            config["max_concurrency"] = numbers.randint(1, 3)
        if numbers.random() < 0.06:
            options["interrupt_before"] = self._some(list(self._world.graph.nodes))
        if numbers.random() < 0.06:
            options["interrupt_after"] = self._some(list(self._world.graph.nodes))
        if numbers.random() < 0.5:
            value = await graph.ainvoke(given, config, **options)
            self.saw(thread, value)
            return value
        return await self._watch(call, thread, graph, given, config, options)

    async def _watch(
        self,
        call: CallRecord,
        thread: Thread,
        graph: CompiledGraph,
        given: Any,
        config: RunnableConfig,
        options: dict[str, Any],
    ) -> Any:
        numbers, value = self._numbers, None
        others: list[StreamMode] = ["updates", "tasks", "checkpoints", "custom", "debug"]
        modes: list[StreamMode] = ["values", *self._some(others)]
        left = numbers.randint(1, 12) if numbers.random() < 0.3 else 10_000
        stream = graph.astream(given, config, stream_mode=modes, version="v2", **options)
        async for part in stream:
            self._world.witness.heard(call, part["cursor"])
            if part["type"] == "checkpoints":
                thread.checkpoints.append(part["data"]["config"]["configurable"]["checkpoint_id"])
            if part["type"] == "values":
                value = part["data"]
                self.saw(thread, value)
            left -= 1
            if left == 0:
                call.ended = "left"
                break
        if call.ended == "left" and numbers.random() < 0.5:
            await stream.aclose()
        if value is None:
            call.ended = "left"
        return value

    # -- other calls ---------------------------------------------------------------------------

    async def _edit(self, call: CallRecord, thread: Thread, graph: CompiledGraph) -> Any:
        nodes = [*self._world.graph.nodes, START, END]
        if self._numbers.random() < 0.8:
            call.node = self._numbers.choice(nodes)
        call.update = {"log": [f"ed:{call.id}"], "total": 1}
        made = await graph.aupdate_state(self.config(call), dict(call.update), call.node)
        thread.checkpoints.append(made["configurable"]["checkpoint_id"])
        return made

    async def _state(self, call: CallRecord, thread: Thread, graph: CompiledGraph) -> Any:
        snapshot = await graph.aget_state(self.config(call))
        if snapshot.checkpoint_id is not None:
            thread.checkpoints.append(snapshot.checkpoint_id)
        self.learn(thread, snapshot.interrupts)
        return snapshot

    async def _history(self, call: CallRecord, thread: Thread, graph: CompiledGraph) -> Any:
        seen = [s async for s in graph.aget_state_history(self.config(call), limit=20)]
        thread.checkpoints += [s.checkpoint_id for s in seen if s.checkpoint_id is not None]
        return seen

    async def _list(self, worker: Worker) -> Any:
        return [info async for info in worker.saver.alist_threads()]

    def _some(self, choices: Sequence[T]) -> list[T]:
        count = min(len(choices), self._numbers.choice((1, 1, 2)))
        return self._numbers.sample(choices, count)
