"""One simulated history: a storm, then calm, then everything is looked at."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass
from functools import partial
from typing import Any

from durable_graph import Command
from durable_graph.errors import (
    AlreadyAnsweredError,
    IntegrityError,
    ThreadBusyError,
)
from durable_graph.ports.backend import ThreadQuery
from durable_graph.testing.simulation.callers import Callers
from durable_graph.testing.simulation.calls import CallRecord
from durable_graph.testing.simulation.knobs import turned
from durable_graph.testing.simulation.model import EMPTY
from durable_graph.testing.simulation.network import at_once
from durable_graph.testing.simulation.simulate import Simulation, Worker, simulate
from durable_graph.testing.simulation.world import Thread, World

__all__ = ["Outcome", "run_seed"]

_PATIENCE = 3600.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a simulated history came to.

    Attributes:
        seed: its seed.
        digest: of all that happened.
        calls: how many calls were made.
        records: how many records were stored.
        steps: how many callbacks the event loop ran.
        time: how much virtual time passed, in seconds.
    """

    seed: int
    digest: str
    calls: int
    records: int
    steps: int
    time: float


def run_seed(seed: int, *, keep_trace: bool = False) -> Outcome:
    """Run the history of a seed.

    Raises:
        SimulationError: the engine broke a promise.
    """
    with turned(random.Random(f"{seed} knobs")):  # noqa: S311 - chance, not a secret
        return simulate(_history, seed=seed, keep_trace=keep_trace)


async def _history(simulation: Simulation) -> Outcome:
    world = World(simulation)
    callers = Callers(world)
    await _storm(world, callers)
    await _calm(world)
    await _rest(world, callers)
    await _look(world)
    await _rot(world)
    chronicles = [c for several in world.witness.threads.values() for c in several]
    return Outcome(
        simulation.seed,
        simulation.digest,
        len(world.witness.calls),
        sum(chronicle.head.seq for chronicle in chronicles if chronicle.head is not None),
        simulation.loop.steps,
        simulation.loop.time(),
    )


async def _storm(world: World, callers: Callers) -> None:
    numbers = world.numbers
    pauses = numbers.choice((0.02, 0.5, 3.0))
    for _ in range(numbers.randint(10, 60)):
        await asyncio.sleep(numbers.choice((0.0, numbers.expovariate(1 / pauses))))
        if not world.alive():
            world.start_worker()
        worker = numbers.choice(world.alive())
        fate = numbers.random()
        if fate < 0.05:
            worker.crash()
        elif fate < 0.09 and len(world.simulation.workers) < 8:
            world.start_worker()
        elif fate < 0.14:
            worker.pause()
            loop = asyncio.get_running_loop()
            loop.call_later(numbers.choice((0.5, 5.0, 15.0, 40.0)), worker.resume)
        elif fate < 0.20 and (under_way := world.under_way()):
            world.cancel(numbers.choice(under_way))
        elif fate < 0.22:
            worker.clock.skew += numbers.choice((-7200.0, -1.0, 1.0, 7200.0))
        else:
            call = callers.call(worker, numbers.choice(world.threads))
            if numbers.random() < 0.6:  # callers wait for an answer, but not for ever
                patience = numbers.choice((0.5, 10.0, 60.0))
                await asyncio.wait([world.running[call.id]], timeout=patience)


async def _calm(world: World) -> None:
    """The storm is over: every call that is under way comes to an end, and lets go."""
    simulation = world.simulation
    world.calm_since = simulation.loop.time()
    await simulation.calm_down()
    if not world.alive():
        world.start_worker()
    tasks = [world.running[name] for name in world.under_way()]
    if tasks:
        await asyncio.wait(tasks, timeout=_PATIENCE)
    for name in world.under_way():
        simulation.fail(f"{world.witness.calls[name]} never ended.")
    # Whatever the dead have owned is anybody's once their leases have ended.
    await asyncio.sleep(simulation.lease.length + 35)
    owners = {o.id: w for w in world.alive() for o in w.saver._all_owners()}
    page = at_once(simulation.storage.store.threads(ThreadQuery(limit=1000)))
    for head in (thread.head for thread in page.threads if thread.head is not None):
        if head.status == "running" and head.owner in owners:
            simulation.fail(f"Thread {head.key.thread} was not let go of by {head.run}.")


async def _rest(world: World, callers: Callers) -> None:
    """Every thread that exists can be gone on with to its end, and takes a new input."""
    for thread in world.threads:
        if world.witness.chronicle(thread.name) is None:
            continue
        worker = world.numbers.choice(world.alive())
        await _to_the_end(world, callers, thread, worker)
        await _invoke(world, callers, thread, worker, "input")
        await _to_the_end(world, callers, thread, world.numbers.choice(world.alive()))


async def _to_the_end(world: World, callers: Callers, thread: Thread, worker: Worker) -> None:
    config: Any = {"configurable": {"thread_id": thread.name}}
    for _ in range(80):
        snapshot = await worker.run(world.graph_of(worker).aget_state(config))
        if snapshot.interrupts:
            callers.learn(thread, snapshot.interrupts)
            call = await _invoke(world, callers, thread, worker, "answer", snapshot.interrupts)
            if isinstance(call.error, AlreadyAnsweredError):
                # By a message that nobody has taken up yet; going on does.
                await _invoke(world, callers, thread, worker, "go on")
        elif snapshot.next:
            await _invoke(world, callers, thread, worker, "go on")
        else:
            return
    world.simulation.fail(f"Thread {thread.name} does not come to an end.")


async def _invoke(
    world: World,
    callers: Callers,
    thread: Thread,
    worker: Worker,
    kind: Any,
    asked: Any = (),
) -> CallRecord:
    call = world.new_call(kind, thread, worker)
    given: Any = None
    if kind == "input":
        given = call.update = {"log": [f"in:{call.id}"], "total": 1}
    if kind == "answer":
        call.answers = {i.id: f"a{call.id}.{n}!{i.value}" for n, i in enumerate(asked)}
        given = Command(resume=dict(call.answers))
    work = partial(world.graph_of(worker).ainvoke, given, callers.config(call))
    await asyncio.wait([world.make(call, worker, work, callers.classify)])
    if call.ended != "returned" and not isinstance(call.error, AlreadyAnsweredError):
        busy = isinstance(call.error, ThreadBusyError)
        reason = "is still owned" if busy else f"{call.ended} with {call.error!r}"
        world.simulation.fail(f"{call} cannot go on with a thread at rest: {reason}.")
    return call


async def _look(world: World) -> None:
    """Everything that is stored is as it was written, whoever looks at it."""
    simulation, witness = world.simulation, world.witness
    for thread in world.threads:
        chronicle = witness.chronicle(thread.name)
        if chronicle is None:
            continue
        config: Any = {"configurable": {"thread_id": thread.name}}
        for worker in world.alive():
            snapshot = await worker.run(world.graph_of(worker).aget_state(config))
            simulation.check(
                snapshot.values == {**EMPTY, **chronicle.state.values} and not snapshot.next,
                f"{worker.name} sees {snapshot} of {thread.name}.",
            )
        worker = world.numbers.choice(world.alive())
        wrong = await worker.run(worker.saver.averify(thread.name))
        simulation.check(not wrong, f"{thread.name} is damaged: {wrong}")

        async def history(worker: Worker = worker, config: Any = config) -> list[Any]:
            return [s async for s in world.graph_of(worker).aget_state_history(config)]

        shown = await worker.run(history())
        readable = [name for name in reversed(chronicle.commits) if chronicle.readable(name)]
        simulation.check(
            [s.checkpoint_id for s in shown] == readable,
            f"The history of {thread.name} is {[s.checkpoint_id for s in shown]}, not {readable}.",
        )
        for snapshot in shown:
            values = {**EMPTY, **chronicle.states[snapshot.checkpoint_id].values}
            simulation.check(
                snapshot.values == values,
                f"{thread.name} at {snapshot.checkpoint_id} shows {snapshot.values!s:.500}.",
            )


async def _rot(world: World) -> None:
    """A record is damaged: whoever needs it is told so, and nobody else notices."""
    simulation, witness, numbers = world.simulation, world.witness, world.numbers
    threads = [thread.name for thread in world.threads if thread.name in witness.existing()]
    if not threads or numbers.random() < 0.5:
        return
    name = numbers.choice(threads)
    chronicle = witness.chronicle(name)
    if chronicle is None or chronicle.head is None:
        return
    seq = numbers.choice([n for a, b in chronicle.head.path for n in range(a, b + 1)])
    simulation.storage.rot(chronicle.head.key, seq, numbers.random())
    worker = world.start_worker()
    wrong = await worker.run(worker.saver.averify(name))
    simulation.check(len(wrong) == 1, f"Record {seq} of {name} is damaged, but {wrong} is said.")
    for thread in threads:
        config: Any = {"configurable": {"thread_id": thread}}
        try:
            snapshot = await worker.run(world.graph_of(worker).aget_state(config))
        except IntegrityError:
            simulation.check(thread == name, f"{thread} is called damaged, which {name} is.")
        else:
            simulation.check(thread != name, f"{thread} is damaged, but {snapshot} is shown.")
