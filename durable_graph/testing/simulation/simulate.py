"""Simulations: the real engine on virtual time, simulated storage and simulated processes."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import gc
import hashlib
import random
import warnings
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from typing import Any, TypeVar

from durable_graph.saver import Lease, Saver
from durable_graph.testing.simulation.clocks import SeededChance, VirtualClock
from durable_graph.testing.simulation.faults import Faults
from durable_graph.testing.simulation.loop import SimulationError, VirtualLoop, process
from durable_graph.testing.simulation.processes import separate_processes
from durable_graph.testing.simulation.storage import SimulatedStorage

__all__ = ["Simulation", "Worker", "WorkerCrashedError", "simulate"]

T = TypeVar("T")


class WorkerCrashedError(Exception):
    """The simulated process that was to do something has crashed."""


class Worker:
    """A simulated process with a saver of its own, on a machine of its own.

    Made by `Simulation.worker`.

    Attributes:
        name: names the process; one that was started again has another name.
        saver: for its graphs.
        clock: its machine's clock; set `skew` to change the time of day.
        alive: whether it has not crashed.
        paused: whether it stands still.
    """

    def __init__(self, simulation: Simulation, name: str, clock: VirtualClock) -> None:
        self.name = name
        self.clock = clock
        self.alive = True
        self.paused = False
        self._simulation = simulation
        self._context = contextvars.Context()
        self._context.run(process.set, name)
        self._crashed: asyncio.Future[None] = simulation.loop.create_future()
        self.saver = Saver(
            simulation.storage.backend(name, alone=True),
            clock=clock,
            chance=SeededChance(simulation.numbers(f"chance of {name}"), clock),
            lease=simulation.lease,
        )

    def __repr__(self) -> str:
        state = "crashed" if not self.alive else "paused" if self.paused else "running"
        return f"<Worker {self.name}, {state}>"

    def start(self, work: Coroutine[Any, Any, T], name: str | None = None) -> asyncio.Task[T]:
        """Have something run in this process, beside whatever else does.

        If the process crashes, the task never ends.
        """
        return self._simulation.loop.create_task(
            work,
            name=f"{self.name}: {name or getattr(work, '__qualname__', 'work')}",
            context=self._context.copy(),
        )

    async def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Have something run in this process and return what it returns.

        Raises:
            WorkerCrashedError: the process crashed meanwhile.
        """
        task = self.start(work)
        try:
            waiting: list[asyncio.Future[Any]] = [task, self._crashed]
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            task.cancel()
            raise
        if not task.done():
            raise WorkerCrashedError(f"Process {self.name} has crashed.")
        return task.result()

    def pause(self) -> None:
        """Stop the process, as SIGSTOP does: nothing of it runs, its signs of life included."""
        if self.alive and not self.paused:
            self.paused = True
            self._simulation.note("pause", self.name)
            self._simulation.loop.hold(self.name)

    def resume(self) -> None:
        """Let a stopped process go on, as SIGCONT does; it does not know that time has passed."""
        if self.alive and self.paused:
            self.paused = False
            self._simulation.note("resume", self.name)
            self._simulation.loop.release(self.name)

    def crash(self) -> None:
        """End the process at once, as SIGKILL does: nothing of it ever runs again.

        What it has sent to the storage arrives, or does not.
        """
        if self.alive:
            self.alive = False
            self._simulation.note("crash", self.name)
            self._simulation.loop.hold(self.name)
            self._simulation.storage.lose(self.name)
            self._crashed.set_result(None)


class Simulation:
    """What a simulated scenario is given.

    Attributes:
        seed: what all chance comes from.
        loop: the event loop, on virtual time.
        storage: the storage system that all workers share.
        workers: all that were ever made.
        lease: how workers prove that they are alive.
        trace: what has happened, line by line, if that is kept.
        problems: what has been found wrong.
    """

    def __init__(self, seed: int, faults: Faults, lease: Lease, *, keep_trace: bool) -> None:
        self.seed = seed
        self.loop = VirtualLoop()
        self.lease = lease
        self.workers: list[Worker] = []
        self.trace: list[str] = []
        self.problems: list[str] = []
        self._keep_trace = keep_trace
        self._over = False
        self._digest = hashlib.blake2b(digest_size=16)
        self.storage = SimulatedStorage(
            self.numbers("storage"), VirtualClock(self.loop.time), faults, self.note
        )

    def __repr__(self) -> str:
        return f"<Simulation of seed {self.seed} at {self.loop.time():.6f} s>"

    @property
    def digest(self) -> str:
        """A digest of all that has happened: equal seeds have equal ones."""
        return self._digest.hexdigest()

    def numbers(self, name: str) -> random.Random:
        """Random numbers of their own for some purpose, from the seed."""
        return random.Random(f"{self.seed} {name}")  # noqa: S311 - chance, not a secret

    def worker(self, name: str | None = None, *, skew: float = 0.0, booted: float = 0.0) -> Worker:
        """Start a process.

        Args:
            name: its name, used once.
            skew: by how many seconds its machine's time of day is wrong.
            booted: how many seconds ago its machine was started.
        """
        name = name or f"worker {len(self.workers) + 1}"
        made = Worker(self, name, VirtualClock(self.loop.time, skew=skew, booted=booted))
        self.workers.append(made)
        self.note("start", name)
        return made

    def note(self, *what: Any) -> None:
        """Add a line to the trace."""
        who = process.get()
        line = f"{self.loop.time():.6f} {who or '-'}: {' '.join(map(str, what))}"
        self._digest.update(line.encode())
        self._digest.update(b"\n")
        if self._keep_trace:
            self.trace.append(line)

    def fail(self, problem: str) -> None:
        """Report that something is wrong; it ends the simulation with a `SimulationError`."""
        if self._over:
            return
        self.note("WRONG", problem)
        self.problems.append(problem)
        self.loop.abort(SimulationError(problem))

    def check(self, holds: bool, problem: str) -> None:
        """Report a problem unless something holds."""
        if not holds:
            self.fail(problem)

    async def calm_down(self) -> None:
        """No more faults from here on, and whoever is paused goes on."""
        self.storage.faults = Faults(slow=0, busy=0, broken=0, lost=0, late=0, again=0)
        for worker in self.workers:
            worker.resume()

    async def close(self) -> None:
        """Close all savers; see that they are well and that nothing runs on.

        Raises:
            SimulationError: something does, or a stored thread is damaged.
        """
        for worker in self.workers:
            if worker.alive:
                worker.resume()
                await worker.run(worker.saver.aclose())
        await asyncio.sleep(0)
        for name in (None, *(worker.name for worker in self.workers if worker.alive)):
            for task in self.loop.tasks(name):
                if task is not asyncio.current_task():
                    raise SimulationError(f"A task was left running: {task!r}")

    def bury(self) -> None:
        """Clear away what crashed processes, or a failed simulation, have left behind."""
        dead = [worker.name for worker in self.workers if not worker.alive]
        if not self.problems:
            self.problems += [
                _told(error) for error in self.loop.errors if _process_of(error) not in dead
            ]
        self._over = True
        self.storage.bury()
        for worker in self.workers:
            self.loop.release(worker.name)
        for _ in range(100):
            left = self.loop.tasks()
            for task in left:
                task.cancel()
            if not left:
                break
            self.loop.settle()
        for task in self.loop.tasks():
            task._log_destroy_pending = False  # type: ignore[attr-defined]
        self.loop.errors.clear()


def simulate(
    scenario: Callable[[Simulation], Awaitable[T]],
    *,
    seed: int = 0,
    faults: Faults | None = None,
    lease: Lease | None = None,
    keep_trace: bool = False,
    after: Callable[[Simulation], None] = lambda _: None,
) -> T:
    """Run a scenario in a simulated world; the same seed always does exactly the same.

    The scenario starts workers, has them call graphs that are compiled with their savers, and
    crashes, pauses and restarts them, while storage fails as `faults` says. Sleeping takes no
    real time. Nodes must be async or quick, use no I/O and no threads, and take what chance they
    need from `Simulation.numbers`.

    Args:
        scenario: what happens; it is given the simulation.
        seed: what all chance comes from.
        faults: what goes wrong with storage; by default what `Faults` says.
        lease: how workers prove that they are alive.
        keep_trace: keep the trace, and show its end with an error.
        after: is given the simulation when it is over.

    Returns:
        What the scenario returns.

    Raises:
        SimulationError: nothing went on, an exception was heard by nobody, a task was left, or
            what the scenario reported. It names the seed.
        Exception: what the scenario raised, with a note that names the seed.
    """
    with _warnings(seed), _own_garbage():
        return _simulate(scenario, seed, faults or Faults(), lease or Lease(), keep_trace, after)


def _simulate(
    scenario: Callable[[Simulation], Awaitable[T]],
    seed: int,
    faults: Faults,
    lease: Lease,
    keep_trace: bool,
    after: Callable[[Simulation], None],
) -> T:
    # A function of its own: what it leaves behind is garbage once it has returned.
    simulation = Simulation(seed, faults, lease, keep_trace=keep_trace)
    with separate_processes(simulation.numbers("threads")):
        try:
            return _run(simulation, scenario)
        except BaseException as error:
            error.add_note(f"In the simulation of seed {seed}, at {simulation.loop.time():.3f} s.")
            error.add_note("\n".join(simulation.trace))
            raise
        finally:
            after(simulation)
            simulation.loop.close()


def _run(simulation: Simulation, scenario: Callable[[Simulation], Awaitable[T]]) -> T:
    loop = simulation.loop

    async def main() -> T:
        result = await scenario(simulation)
        await simulation.close()
        return result

    task = loop.create_task(main(), context=contextvars.Context())
    try:
        result = loop.run_until_complete(task)
    finally:
        del task
        loop.tasks()
        gc.collect()  # tasks that failed unheard say so now
        simulation.bury()
    if simulation.problems:
        raise SimulationError(simulation.problems[0])
    return result


@contextlib.contextmanager
def _own_garbage() -> Iterator[None]:
    """Collect garbage at a time of our own: what it closes takes part in the simulation."""
    enabled = gc.isenabled()
    gc.disable()
    gc.freeze()
    try:
        yield
    finally:
        gc.collect()
        gc.unfreeze()
        if enabled:
            gc.enable()


@contextlib.contextmanager
def _warnings(seed: int) -> Iterator[None]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    for warning in caught:
        raise SimulationError(f"A warning in the simulation of seed {seed}: {warning}")


def _process_of(error: dict[str, Any]) -> str | None:
    for part in ("task", "future", "handle"):
        found = error.get(part)
        if isinstance(found, asyncio.Task):
            name: str | None = getattr(found, "process", None)
            return name
    return None


def _told(error: dict[str, Any]) -> str:
    who = error.get("task") or error.get("future") or error.get("handle")
    name = who.get_name() if isinstance(who, asyncio.Task) else who
    return f"{error.get('message')}: {error.get('exception')!r} ({name})"
