"""Bugs to be planted: what engineers of durable systems have got wrong before.

Each is a patch of the engine or of the storage, small enough to look like an oversight.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import pytest

from durable_graph.decisions import advance, answers
from durable_graph.decisions.reduce import Reducers
from durable_graph.engine.history import reading, snapshots
from durable_graph.engine.history.reading import View
from durable_graph.engine.runs import editing, inbox, opening, run
from durable_graph.engine.runs.live import LiveThread
from durable_graph.engine.runs.run import Run
from durable_graph.engine.storage.runlog import Receipt, RunLog
from durable_graph.engine.storage.writer import Writer
from durable_graph.engine.tasks.steps import Calls
from durable_graph.engine.upkeep import pruning
from durable_graph.errors import IntegrityError, OutcomeUnknownError, StorageError
from durable_graph.log import seal as seals
from durable_graph.log.fold import Scope
from durable_graph.log.records import Body, Head, Ranges, Record, Step, Steps
from durable_graph.log.seal import Draft, Header, open_record, seal
from durable_graph.ports.backend import Append, Backend, Outcome, Position
from durable_graph.testing.simulation.network import at_once
from durable_graph.testing.simulation.storage import SimulatedStorage

__all__ = ["PLANTED", "Plant"]

Plant = Callable[[pytest.MonkeyPatch], None]


def ack_before_commit(patch: pytest.MonkeyPatch) -> None:
    """Nobody waits for a write."""

    async def at_once(self: RunLog) -> None:
        await asyncio.sleep(0)

    patch.setattr(RunLog, "_until_written", at_once)


def event_before_commit(patch: pytest.MonkeyPatch) -> None:
    """What a run tells waits for its write to be sent, not for the answer."""
    flush = RunLog.flush

    async def hasty(self: RunLog, *, wait: bool = False, here: bool = False) -> None:
        if wait or self.durability != "sync":
            await flush(self, wait=wait)
            return
        self.durability = "async"
        try:
            await flush(self)
        finally:
            self.durability = "sync"
        while self._pending.drafts and not self.broken:
            await asyncio.sleep(0.001)

    patch.setattr(RunLog, "flush", hasty)


def no_fence(patch: pytest.MonkeyPatch) -> None:
    """The storage extends a log wherever it stands."""
    patch.setattr(SimulatedStorage, "apply", _applying(lambda storage, before, append: True))


def fence_of_leases(patch: pytest.MonkeyPatch) -> None:
    """The storage lets in whoever gives signs of life, wherever the log stands."""

    def lives(storage: SimulatedStorage, before: Head, append: Append) -> bool:
        known = {entry.process.id: entry for entry in at_once(storage.store.beat(None))}
        entry = known.get(append.head.owner or "")
        return entry is not None and entry.age < entry.process.lease

    patch.setattr(SimulatedStorage, "apply", _applying(lives))


def _applying(lets_in: Callable[[SimulatedStorage, Head, Append], bool]) -> Any:
    apply = SimulatedStorage.apply

    def careless(self: SimulatedStorage, batch: Sequence[Append], beat: Any) -> list[Outcome]:
        outcomes = []
        for append in batch:
            before = self.head(append.head.key)
            if before is None or not lets_in(self, before, append):
                outcomes += apply(self, [append], None)
                continue
            changed = replace(append, expected=Position.of(before))
            outcomes += at_once(self.store.append([changed]))
            if self.observer is not None:
                self.observer.appended(before, append, outcomes[-1])
        apply(self, [], beat)
        return outcomes

    return careless


def same_epoch(patch: pytest.MonkeyPatch) -> None:
    """Who takes a thread over keeps the epoch of who had it."""
    init = RunLog.__init__

    def keeping(self: RunLog, *arguments: Any, **options: Any) -> None:
        init(self, *arguments, **options)
        self.epoch = max(self.epoch - 1, 1)

    patch.setattr(RunLog, "__init__", keeping)


def another_commit(patch: pytest.MonkeyPatch) -> None:
    """A write without an answer is made anew behind whatever stands there by now."""
    resolve = Writer._resolve

    async def anew(self: Writer, append: Append, error: StorageError | None) -> Outcome:
        if isinstance(error, OutcomeUnknownError):
            await self._clock.sleep(1.0)
            found = await self._backend.read(append.head.key)
            append, error = _moved(append, found.head if found is not None else None), None
        return await resolve(self, append, error)

    patch.setattr(Writer, "_resolve", anew)


def _moved(append: Append, before: Head | None) -> Append:
    head, drafts = append.head, []
    for record in append.records:
        header, body = open_record(record, head.secret, head.key.thread)
        drafts.append(Draft(body, header.time, header.run, header.by, commit=header.commit))
    after, records = seal(
        before,
        drafts,
        key=head.key,
        secret=head.secret,
        epoch=head.epoch,
        status=head.status,
        owner=head.owner,
        input=head.input,
        reason=head.reason,
        now=head.updated,
    )
    expected = None if before is None else Position.of(before)
    return Append(expected, after, records, append.blobs, append.settled)


def swallowed_write(patch: pytest.MonkeyPatch) -> None:
    """A write that fails is taken for one that did not."""

    async def careless(
        self: Writer, log: RunLog, append: Append, error: StorageError | None
    ) -> None:
        log.settled(append, Outcome.APPLIED)

    patch.setattr(Writer, "_alone", careless)


def swallowed_damage(patch: pytest.MonkeyPatch) -> None:
    """A record that cannot be read is passed over."""
    fold = reading.fold_records

    def lenient(scope: Scope, records: Sequence[Any], secret: bytes, thread: str) -> None:
        for record in records:
            try:
                fold(scope, [record], secret, thread)
            except IntegrityError:
                continue

    patch.setattr(reading, "fold_records", lenient)


def digest_of_nothing(patch: pytest.MonkeyPatch) -> None:
    """The digest that protects a record does not depend on its body."""
    digest = seals._digest
    patch.setattr(seals, "_digest", lambda body, secret: digest(b"", secret))


def results_twice(patch: pytest.MonkeyPatch) -> None:
    """Where several tasks write to a key, the last one's result counts twice."""
    combine = Reducers.combine

    def twice(self: Reducers, channel: Any, base: Any, writes: Sequence[Any]) -> Any:
        if channel.reducer is not None and len({task for task, _, _ in writes}) > 1:
            writes = [*writes, writes[-1]]
        return combine(self, channel, base, writes)

    patch.setattr(Reducers, "combine", twice)


def finished_tasks_again(patch: pytest.MonkeyPatch) -> None:
    """A resumed superstep runs all its tasks."""

    def everything(self: Scope) -> list[int]:
        return [index for index in range(len(self.due)) if not self.open_asks(index)]

    patch.setattr(Scope, "runnable", everything)


def answers_by_order(patch: pytest.MonkeyPatch) -> None:
    """Answers go to the open questions one by one, whichever they are for."""
    match = answers.match_answers

    def ordered(resume: Any, open_ids: Sequence[str], *rest: Any) -> Mapping[str, Any]:
        matched = match(resume, open_ids, *rest)
        return dict(zip(sorted(open_ids), matched.values(), strict=False))

    patch.setattr(opening, "match_answers", ordered)


def answers_taken_twice(patch: pytest.MonkeyPatch) -> None:
    """A message is taken up, but not settled."""
    take = inbox.take_answers

    def forgetful(log: Any, *rest: Any) -> dict[str, str]:
        verdicts = take(log, *rest)
        log._pending.settled.clear()
        return verdicts

    patch.setattr(opening, "take_answers", forgetful)
    patch.setattr(run, "take_answers", forgetful)


def fork_on_the_head(patch: pytest.MonkeyPatch) -> None:
    """A branch's first commit is put behind the head."""
    commit = LiveThread.commit

    def misplaced(self: LiveThread, *arguments: Any, onto: Any = None, **options: Any) -> Any:
        return commit(self, *arguments, onto=None, **options)

    patch.setattr(LiveThread, "commit", misplaced)


def edit_of_an_old_state(patch: pytest.MonkeyPatch) -> None:
    """An edit that was refused is written behind what it was refused for, unread."""
    load = reading.load
    seen: dict[Any, View] = {}

    async def once(keeper: Any, definition: Any, key: Any, checkpoint: Any = None) -> Any:
        view = await load(keeper, definition, key, checkpoint)
        before = seen.get((keeper, key))
        if view is not None and checkpoint is None:
            seen[keeper, key] = replace(view, scope=view.scope.copy())
            if before is not None and before.scope.branch == view.scope.branch:
                view.scope = before.scope.copy()
        return view

    patch.setattr(editing, "load", once)


def torn_commit(patch: pytest.MonkeyPatch) -> None:
    """What belongs together is written record by record."""
    flush = Writer._flush

    async def torn(self: Writer, logs: Sequence[RunLog]) -> None:
        for log in logs:
            pending, rest = log._pending, []
            if not pending.drafts:  # it went along with what was torn off before
                continue
            pending.drafts, rest = pending.drafts[:1], pending.drafts[1:]
            await flush(self, [log])
            if rest and not log.broken:
                log._pending.drafts[:0] = rest
                await flush(self, [log])

    patch.setattr(Writer, "_flush", torn)


def owner_not_released(patch: pytest.MonkeyPatch) -> None:
    """A run that fails or is cancelled ends without a word."""

    async def silent(self: Run, error: BaseException | None) -> Receipt:
        await asyncio.sleep(0)
        return Receipt()

    patch.setattr(Run, "stop", silent)


def wrong_snapshot(patch: pytest.MonkeyPatch) -> None:
    """A snapshot holds the state before the superstep."""
    right = advance.advance

    def stale(
        delta: Any, after: Any, scope: Scope, plan: Any, riders: Any, *, snapshot: bool
    ) -> Any:
        return right(delta, {} if snapshot else after, scope, plan, riders, snapshot=snapshot)

    patch.setattr(run, "advance", stale)


def stale_state_at_hand(patch: pytest.MonkeyPatch) -> None:
    """A state at hand is used without a look at where the log stands."""
    load = reading.load

    async def trusting(keeper: Any, definition: Any, key: Any, checkpoint: Any = None) -> Any:
        hot = keeper.hot.take(key) if checkpoint is None else None
        if hot is not None and hot.definition is definition:
            hot.freezer.begin(hot.scope.blobs())
            return View(hot.head, hot.scope, (), hot.freezer, hot.reducers)
        return await load(keeper, definition, key, checkpoint)

    for module in (opening, editing, snapshots):
        patch.setattr(module, "load", trusting)


def everybody_is_dead(patch: pytest.MonkeyPatch) -> None:
    """Whoever comes takes a running thread over."""

    async def dead(backend: Backend, head: Head) -> bool:
        return False

    patch.setattr(opening, "owner_is_alive", dead)


def hungry_prune(patch: pytest.MonkeyPatch) -> None:
    """Pruning takes what the checkpoints that it keeps are folded from."""

    def hungry(
        headers: Sequence[Header], path: Ranges, kept: Collection[int]
    ) -> tuple[Ranges, list[str]]:
        first = min(kept)
        return (((1, first - 1),) if first > 1 else ()), []

    patch.setattr(pruning, "unneeded", hungry)


def lost_error(patch: pytest.MonkeyPatch) -> None:
    """What the writer fails with is heard by nobody."""

    def unheard(self: RunLog, error: BaseException) -> None:
        asyncio.get_running_loop().create_task(_fails(error))
        failed(self, error)

    failed = RunLog.failed
    patch.setattr(RunLog, "failed", unheard)


async def _fails(error: BaseException) -> None:
    raise error


def step_before_its_claim(patch: pytest.MonkeyPatch) -> None:
    """A step begins while its claim is on its way."""

    async def hasty(self: Calls, entry: Step, *, durable: bool = False) -> Receipt:
        log = self._run.live.log
        if not durable or log is None:
            return await write(self, entry, durable=durable)
        self._run.live.scope.take_steps([entry])
        return log.add(Steps([entry]))

    write = Calls._write
    patch.setattr(Calls, "_write", hasty)


def forgotten_steps(patch: pytest.MonkeyPatch) -> None:
    """Reading a thread passes over what its tasks have done so far."""

    def passing_over(record: Record, secret: bytes, thread: str) -> tuple[Header, Body]:
        header, body = open_record(record, secret, thread)
        return header, Steps([]) if isinstance(body, Steps) else body

    patch.setattr(reading, "open_record", passing_over)


def _all() -> Iterator[tuple[str, Plant]]:
    for plant in (
        ack_before_commit,
        event_before_commit,
        no_fence,
        fence_of_leases,
        same_epoch,
        another_commit,
        swallowed_write,
        swallowed_damage,
        digest_of_nothing,
        results_twice,
        finished_tasks_again,
        answers_by_order,
        answers_taken_twice,
        fork_on_the_head,
        edit_of_an_old_state,
        torn_commit,
        owner_not_released,
        wrong_snapshot,
        stale_state_at_hand,
        everybody_is_dead,
        hungry_prune,
        lost_error,
        step_before_its_claim,
        forgotten_steps,
    ):
        yield plant.__name__, plant


PLANTED: Final[dict[str, Plant]] = dict(_all())
