"""Crashing somebody's graph wherever a process can die, and looking whether anybody can tell."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

from durable_graph.graph.compiled import CompiledGraph
from durable_graph.log.records import Record
from durable_graph.log.seal import open_header
from durable_graph.ports.backend import Append
from durable_graph.saver import Saver
from durable_graph.testing.crash import CrashingBackend, When
from durable_graph.testing.effects import EffectLog, life
from durable_graph.testing.endings import Ending, comparable, differences
from durable_graph.testing.lives import Lives, MakeSaver, quiet
from durable_graph.types import Command, Interrupt, RunnableConfig

__all__ = ["CrashPoint", "CrashSweepError", "Sweep", "crash_sweep"]

Answers: TypeAlias = Sequence[Any] | Callable[[Interrupt], Any]

_THREAD: Final = "crash-sweep"
_ROUNDS: Final = 200  # of questions and answers; a graph that asks on and on is not swept
_SHOWN: Final = 5


@dataclass(frozen=True, slots=True)
class CrashPoint:
    """A place where a process can die.

    Attributes:
        call: the number of the storage call, from 1.
        when: before or after that call.
        what: what was called, and what was to be stored.
    """

    call: int
    when: When
    what: str

    def __str__(self) -> str:
        return f"{self.when} storage call {self.call} ({self.what})"


@dataclass(frozen=True, slots=True)
class Sweep:
    """A sweep that found nothing.

    Attributes:
        points: where the graph was crashed.
        values: its final state, as an undisturbed run has it.
    """

    points: Sequence[CrashPoint]
    values: Any

    def __str__(self) -> str:
        return f"crashed at {len(self.points)} points, and came to the same end each time"


class CrashSweepError(AssertionError):
    """A crash changed what a graph does.

    Attributes:
        findings: what was changed, and at which points; at none, if it is wrong without a crash.
        points: where the graph was crashed.
    """

    def __init__(
        self, findings: Mapping[str, Sequence[CrashPoint]], points: Sequence[CrashPoint]
    ) -> None:
        self.findings = findings
        self.points = points
        super().__init__(_report(findings, points))


async def crash_sweep(
    make_graph: Callable[[Saver], CompiledGraph[Any, Any, Any, Any]],
    input: Any,
    *,
    config: RunnableConfig | None = None,
    answers: Answers = (),
    effects: EffectLog | Sequence[EffectLog] = (),
    make_saver: MakeSaver | None = None,
    compare_by: Callable[[Any], Any] = comparable,
    only: tuple[int, When] | None = None,
    limit: int = 500,
    **options: Any,
) -> Sweep:
    """Crash a graph before and after each of its storage calls, and go on with it each time.

    Each time the process is taken for dead; a new graph on the same storage goes on with the
    thread, and what comes of it must be what comes of an undisturbed run: the same final state
    and open questions, a sound log, a history with the same steps, and each effect once.

    What is left of the program while it is played dead is this process: what a graph keeps in
    variables outside its state survives here, and would not survive a crash. Make it in
    `make_graph`, which is called once for each life. Time is real: waits between retries too.

    Args:
        make_graph: compiles the graph with the saver it is given. `compile` of a `StateGraph`
            is such a function.
        input: the graph's input.
        config: of its calls. The thread is the sweep's own.
        answers: to what it asks: one after the other, or from a function of the question.
            Questions beyond the last answer stay open.
        effects: the services that its nodes use. See `EffectLog`.
        make_saver: opens the storage to do it on, given an empty folder, such as
            ``lambda folder: SqliteSaver(folder / "threads.db")``. By default it is in memory.
        compare_by: what is to be the same, from the final state. By default everything but the
            ids of messages.
        only: a call's number, and "before" or "after": crash there alone.
        limit: how many storage calls a run may make.
        **options: whatever else `ainvoke` takes.

    Returns:
        What was done.

    Raises:
        CrashSweepError: some crash changed something; says at which points, and what. Or a
            service complains without any crash.
        ValueError: the graph cannot be swept: two undisturbed runs differ, it makes more calls
            than `limit`, or `make_graph` has not used the saver.
        Exception: what the graph raised without any crash.
    """
    logs = [effects] if isinstance(effects, EffectLog) else list(effects)
    trial = _Trial(make_graph, input, config, answers, logs, make_saver, compare_by, options)
    try:
        with quiet():
            return await _sweep(trial, only, limit)
    finally:
        for log in logs:
            log.go_on(None)


async def _sweep(trial: _Trial, only: tuple[int, When] | None, limit: int) -> Sweep:
    expected, calls = await trial.undisturbed()
    if wrong := list(_complaints(expected)):
        raise CrashSweepError(dict.fromkeys(wrong, ()), ())
    again, _ = await trial.undisturbed()
    _refuse_chance(list(differences(expected, again)))
    if len(calls) > limit:
        raise ValueError(
            f"The run makes {len(calls)} storage calls, and would be crashed at each of them. "
            f"Sweep a smaller input, or say limit={len(calls)}."
        )
    findings: dict[str, list[CrashPoint]] = {}
    points = [
        CrashPoint(number, when, what)
        for number, what in enumerate(calls, 1)
        for when in ("before", "after")
        if only is None or only == (number, when)
    ]
    if not points:
        raise ValueError(f"The run makes {len(calls)} storage calls; there is no {only!r}.")
    for point in points:
        for line in await trial.crashed(point, expected):
            findings.setdefault(line, []).append(point)
    if findings:
        raise CrashSweepError(findings, points)
    return Sweep(points, expected.values)


@dataclass(slots=True)
class _Trial:
    """One graph with one input, to be lived through as often as it takes."""

    make_graph: Callable[[Saver], CompiledGraph[Any, Any, Any, Any]]
    input: Any
    config: RunnableConfig | None
    answers: Answers
    effects: Sequence[EffectLog]
    make_saver: MakeSaver | None
    compare_by: Callable[[Any], Any]
    options: Mapping[str, Any]

    async def undisturbed(self) -> tuple[Ending, list[str]]:
        """How it ends without a crash, and what it calls until then."""
        with tempfile.TemporaryDirectory() as folder:
            lives, given = Lives(self.make_saver, Path(folder)), _Given(self.answers)
            lived = await self._live(lives, given, first=True)
            async with lives.life() as (saver, _):
                return await self._ending(saver), _calls_of(lived)

    async def crashed(self, point: CrashPoint, expected: Ending) -> list[str]:
        """What is another after a crash."""
        with tempfile.TemporaryDirectory() as folder:
            lives, given = Lives(self.make_saver, Path(folder)), _Given(self.answers)
            await self._live(lives, given, point.call, point.when, first=True)
            try:
                await self._live(lives, given)
            except Exception as error:
                return [f"going on raises {type(error).__name__}: {error}"]
            async with lives.life() as (saver, _):
                return list(differences(expected, await self._ending(saver)))

    async def _live(
        self,
        lives: Lives,
        given: _Given,
        at: int | None = None,
        when: When = "before",
        *,
        first: bool = False,
    ) -> CrashingBackend:
        token = object()
        for log in self.effects:
            log.begin(token) if first else log.go_on(token)
        async with lives.life(at, when) as (saver, dying):
            before = life.set(token)
            try:
                await self._go_on(saver, given)
            finally:
                life.reset(before)
        return dying

    async def _go_on(self, saver: Saver, given: _Given) -> None:
        """What a program does that is started: look how the thread stands, and go on with it."""
        graph, config = self._compiled(saver), self._config()
        reading = await saver.backend.read(saver.key(_THREAD))
        if reading is not None and reading.head.status in ("finished", "stopped"):
            return  # there is no more to do; and past a breakpoint it was not to go
        input = None if reading is not None else self.input
        for _ in range(_ROUNDS):
            await graph.ainvoke(input, config, **self.options)
            answers = given.to((await graph.aget_state(config)).interrupts)
            if not answers:
                return
            input = Command(resume=answers)
        raise ValueError(f"The graph still asks after {_ROUNDS} rounds of answers.")

    async def _ending(self, saver: Saver) -> Ending:
        graph, config = self._compiled(saver), self._config()
        state = await graph.aget_state(config)
        path = [
            ((one.metadata or {})["source"], (one.metadata or {})["step"], one.next)
            async for one in graph.aget_state_history(config)
        ]
        reading = await saver.backend.read(saver.key(_THREAD))
        damage = await saver.averify(_THREAD) if reading is not None else []
        return Ending(
            values=self.compare_by(state.values),
            asked=[comparable(question.value) for question in state.interrupts],
            path=path[::-1],
            status=reading.head.status if reading is not None else "new",
            damage=list(map(str, damage)),
            happened={
                log.service: Counter((one.node, one.name) for one in log.calls if one.took_place)
                for log in self.effects
            },
            wrong={log.service: [*log.duplicates(), *log.swallowed()] for log in self.effects},
        )

    def _compiled(self, saver: Saver) -> CompiledGraph[Any, Any, Any, Any]:
        graph = self.make_graph(saver)
        if graph.checkpointer is not saver:
            raise ValueError(
                "make_graph has to compile the graph with the saver it is given: each life of "
                "the program has one of its own."
            )
        return graph

    def _config(self) -> RunnableConfig:
        config: RunnableConfig = {**(self.config or {})}
        config["configurable"] = {**config.get("configurable", {}), "thread_id": _THREAD}
        return config


def _calls_of(lived: CrashingBackend) -> list[str]:
    """What each storage call of a life was to do."""
    return [
        f"{name}: {'; '.join(_contents(lived.batches[number]))}"
        if number in lived.batches
        else name
        for number, name in enumerate(lived.calls, 1)
    ]


class _Given:
    """Answers, each for one question however often that is asked."""

    def __init__(self, answers: Answers) -> None:
        self._answers = answers
        self._of: dict[str, Any] = {}

    def to(self, questions: Sequence[Interrupt]) -> dict[str, Any]:
        """The answers to these questions, by their ids, as far as there are any."""
        answers = {}
        for question in questions:
            if callable(self._answers):
                answers[question.id] = self._answers(question)
                continue
            if question.id not in self._of and len(self._of) < len(self._answers):
                self._of[question.id] = self._answers[len(self._of)]
            if question.id in self._of:
                answers[question.id] = self._of[question.id]
        return answers


def _contents(batch: Sequence[Append]) -> Iterator[str]:
    for append in batch:
        for record in append.records:
            yield _content(record, append.head.key.thread)


def _content(record: Record, thread: str) -> str:
    commit = open_header(record, thread).commit
    if commit is None:
        return {"tasks": "a task's result", "answers": "an answer"}.get(record.kind, record.kind)
    if commit.source == "input":
        return "the input"
    nodes = ", ".join(dict.fromkeys(commit.nodes))
    return f"step {commit.step}, of {nodes}" if nodes else f"step {commit.step}"


def _complaints(ending: Ending) -> Iterator[str]:
    """What is wrong without any crash."""
    for service, lines in ending.wrong.items():
        for line in lines:
            yield f"{service}: {line}"


def _refuse_chance(lines: Sequence[str]) -> None:
    if lines:
        raise ValueError(
            "Two undisturbed runs differ, so nobody can say what a crash would change. Take "
            "chance and time out of the graph, make everything it keeps outside its state in "
            "make_graph, or say with compare_by= what is to be the same. They differ in this: "
            + "; ".join(lines)
        )


def _report(findings: Mapping[str, Sequence[CrashPoint]], points: Sequence[CrashPoint]) -> str:
    if not points:
        return "\n  ".join(["Without any crash:", *findings])
    lines = []
    for finding, where in findings.items():
        shown = [f"  {point}" for point in where[:_SHOWN]]
        if len(where) > _SHOWN:
            shown.append(f"  and {len(where) - _SHOWN} more")
        lines.append("\n".join([f"{finding}\nafter a crash", *shown]))
    first = next(iter(findings.values()))[0]
    hit = len({point for where in findings.values() for point in where})
    head = f"{hit} of {len(points)} crashes changed what the graph does."
    last = f'To see the first alone: only=({first.call}, "{first.when}")'
    return "\n\n".join([head, *lines, last])
