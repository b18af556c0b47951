"""How a call begins: read the thread, see what the call does to it, and become its owner.

Becoming the owner is an append like any other: it states the position that was read, raises the
epoch, and carries the call's input or answer. So accepting an input, claiming the thread and
fencing whoever held it before are one durable write, and of two callers one is refused.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from durable_graph.decisions.admission import Action, Asked, Situation, admit
from durable_graph.decisions.answers import match_answers
from durable_graph.decisions.compat import incompatible, misfits_within
from durable_graph.decisions.freeze import Freezer
from durable_graph.decisions.plan import Plan, plan_goto, without_deferred
from durable_graph.decisions.reduce import Reducers
from durable_graph.decisions.results import read_command
from durable_graph.definition.graph import GraphDefinition
from durable_graph.engine.apart import apart
from durable_graph.engine.history.reading import Place, View, check_end, check_ns, load
from durable_graph.engine.ownership.keeper import Keeper
from durable_graph.engine.ownership.owner import Owner, owner_is_alive
from durable_graph.engine.runs.call import Call
from durable_graph.engine.runs.forking import Fork
from durable_graph.engine.runs.inbox import (
    answer_message,
    raise_verdict,
    take_answers,
    verdict_error,
)
from durable_graph.engine.runs.input import input_digest, take_input
from durable_graph.engine.runs.live import LiveThread, Onto
from durable_graph.engine.runs.run import Run
from durable_graph.engine.storage.runlog import RunLog
from durable_graph.engine.streams.stream import Stream
from durable_graph.errors import (
    CheckpointNotFoundError,
    ConfigError,
    DurableGraphError,
    EmptyInputError,
    FencedError,
    MissingCheckpointerError,
    ThreadBusyError,
)
from durable_graph.log.fold import Scope
from durable_graph.log.pieces import is_bulky
from durable_graph.log.records import (
    Answers,
    DueTask,
    Head,
    Mark,
    ThreadKey,
)
from durable_graph.ports.backend import Backend, Message, Position
from durable_graph.ports.limits import check_message
from durable_graph.types import START, Command

__all__ = ["hold", "leave_answer", "open_run", "open_unstored", "situation_of"]

# A claim is refused when somebody else was faster. Each time there is something new to see, so
# this many refusals in a row mean that others keep changing the thread.
_CLAIMS = 16


async def open_run(
    keeper: Keeper,
    owner: Owner,
    definition: GraphDefinition,
    call: Call,
    key: ThreadKey,
    stream: Stream,
    posted: Message | None = None,
) -> tuple[Run, bool]:
    """Begin a call; returns the run, and whether there is anything to run.

    Args:
        keeper: where threads are stored.
        owner: who is to own the thread.
        definition: the graph.
        call: the call.
        key: the thread.
        stream: who watches.
        posted: the call's answer, if it was left for an owner whose run is over by now.

    Raises:
        RunError: the thread's state does not allow the call.
        IncompatibleGraphError: the thread is to go on with nodes the graph does not have.
        InvalidUpdateError: the input cannot become part of the state.
        StorageError: storage failed.
    """
    for _ in range(_CLAIMS):
        if posted is not None:
            # The checkpoint that it named was the head when it was left; by now that has moved on.
            call = replace(call, checkpoint=None)
        view = await load(keeper, definition, key, call.checkpoint)
        situation = await situation_of(keeper.backend, None if view is None else view.head)
        asked = await _what_is_asked(call, view, definition)
        opening = _Opening(keeper, owner, definition, call, key, stream, view, asked)
        if posted is not None and situation != "running":
            posted = await keeper.backend.post(key, posted)
            if posted.verdict is not None:
                # The owner has seen it; its run has done what the answer was for.
                raise_verdict(posted, key.thread)
                return opening.run, False
            if view is None or all(message.id != posted.id for message in view.messages):
                continue  # it was left on a thread that was deleted since, and is here only now
            action = Action.GO_ON  # it left without seeing it: then it is up to this call
        elif posted is not None:
            action = Action.POST
        else:
            action = opening.decide(situation)
        if action is Action.POST:
            posted = await leave_answer(keeper, owner, definition, call, key, posted)
            continue
        if action is Action.RETURN:
            opening.run.teller.unchanged()
            return opening.run, False
        try:
            await opening.begin(action, situation, posted)
            opening.run.begun = True
        except FencedError:
            keeper.hot.take(key)
            continue
        except GeneratorExit:  # its loop is gone, and with it everything that could be awaited
            raise
        except BaseException as error:
            # The claim may have been written; then nobody else would ever end this run.
            await opening.give_up(None if isinstance(error, asyncio.CancelledError) else error)
            raise
        return opening.run, True
    raise ThreadBusyError(f"Others keep changing thread {key.thread!r}; call again later.")


async def leave_answer(
    keeper: Keeper,
    owner: Owner,
    definition: GraphDefinition,
    call: Call,
    key: ThreadKey,
    posted: Message | None,
    *,
    beside: bool = False,
) -> Message | None:
    """Leave the call's answer for the run that owns the thread, and wait for that run's end.

    Args:
        keeper: where threads are stored.
        owner: this event loop.
        definition: the graph.
        call: the call.
        key: the thread.
        posted: the answer, if it has been left already.
        beside: whether the run is one of this process; it may not have begun yet, or be about
            to end.

    Returns:
        The answer as it was left; ``None`` if no run owned the thread.

    Raises:
        NothingToResumeError: there is no such question.
        AlreadyAnsweredError: there is, and somebody else was faster.
        ThreadBusyError: the call wants more than to answer.
    """
    while True:
        reading = await keeper.backend.read(key, call.checkpoint)
        head = None if reading is None else reading.head
        situation = await situation_of(keeper.backend, head)
        if situation == "running" and posted is None:
            view = await load(keeper, definition, key, call.checkpoint)
            asked = await _what_is_asked(call, view, definition)
            opening = _Opening(keeper, owner, definition, call, key, Stream(), view, asked)
            opening.decide(situation)
            posted = await opening.post()
        elif situation == "running" and posted is not None:
            posted = await keeper.backend.post(key, posted)
            raise_verdict(posted, key.thread)
        elif not (beside and keeper.runs(key)):
            return posted
        await _until_it_moves(keeper, head, key)


async def open_unstored(
    definition: GraphDefinition, call: Call, live: LiveThread, stream: Stream
) -> Run:
    """Begin a call of a graph without a checkpointer: nothing is stored, nothing can be resumed.

    Raises:
        EmptyInputError: there is no input.
        MissingCheckpointerError: it asks for what only stored state has.
        InvalidUpdateError: the input cannot become part of the state.
    """
    if isinstance(call.input, Command):
        raise MissingCheckpointerError(
            "A Command acts on stored state, and the graph has no checkpointer. Compile it with "
            "one: compile(checkpointer=InMemorySaver())."
        )
    if call.input is None:
        raise EmptyInputError(
            "There is no input, and no checkpointer that could have a state to go on from."
        )
    await take_input(live)
    return Run(live, stream, None)


def hold(
    keeper: Keeper,
    owner: Owner,
    definition: GraphDefinition,
    call: Call,
    key: ThreadKey,
    view: View | None,
) -> LiveThread:
    """A thread that was read, and a log that extends it from there under a new epoch."""
    secret = view.head.secret if view is not None else keeper.chance.secret()
    freezer = (
        view.freezer
        if view is not None
        else Freezer(definition, definition.codec, secret, keeper.chance.id, key.thread)
    )
    freezer.allow(keeper.max_value_bytes)
    log = RunLog(
        owner.writer,
        keeper.clock,
        key,
        view.head if view is not None else None,
        secret,
        owner=owner.id,
        run=call.run,
        durability=call.durability,
    )
    live = LiveThread(
        definition,
        call,
        view.scope if view is not None else Scope(),
        freezer,
        view.reducers if view is not None else Reducers(freezer),
        log,
        keeper.clock,
        keeper.chance,
    )
    live.pending = view.pending if view is not None else None
    return live


async def situation_of(backend: Backend, head: Head | None) -> Situation:
    """How a thread stands."""
    if head is None:
        return "new"
    if head.status != "running":
        return head.status
    return "running" if await owner_is_alive(backend, head) else "crashed"


async def _until_it_moves(keeper: Keeper, head: Head | None, key: ThreadKey) -> None:
    """Wait until the thread has moved on, this process's run of it has ended, or for so long
    that its owner may have died. Of a first run that is stored at its exit there is no head yet."""
    tired = asyncio.ensure_future(keeper.clock.sleep(keeper.lease.interval))
    waiting: list[asyncio.Future[Any]] = [tired]
    if head is not None:
        waiting.append(asyncio.ensure_future(keeper.backend.changed(key, Position.of(head))))
    if (released := keeper.released(key)) is not None:
        waiting.append(asyncio.ensure_future(asyncio.wrap_future(released)))
    try:
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for future in waiting:
            future.cancel()
        await asyncio.wait(waiting)
    for future in waiting:
        if not future.cancelled():
            future.result()


class _Opening:
    """One attempt to begin a call on a thread as it was read."""

    def __init__(
        self,
        keeper: Keeper,
        owner: Owner,
        definition: GraphDefinition,
        call: Call,
        key: ThreadKey,
        stream: Stream,
        view: View | None,
        asked: Asked,
    ) -> None:
        self._keeper = keeper
        self._owner = owner
        self._call = call
        self._key = key
        self._view = view
        self._asked = asked
        if view is not None and call.checkpoint is not None:
            check_ns(Place(key.thread, call.checkpoint, call.ns), view)
            if view.ns and self._asked in ("input", "same input"):
                raise ConfigError(
                    f"Checkpoint {call.checkpoint!r} is one of the graph at {view.ns!r}, which its "
                    f"caller gives its input. Call with None to go on from there, or edit its "
                    f"state with aupdate_state and then call with None."
                )
        self._branch = call.checkpoint is not None
        if view is not None and view.after is not None and view.at_head:
            # The head is named, as when a snapshot's config is passed on. For an answer, and
            # where nothing has come of its tasks yet, that is no branch.
            at = view.after.nested[view.ns] if view.ns else view.after
            called = any(map(at.called_by, range(len(at.due))))
            began = any(due.node != START for due in at.due) and (at.outcomes or called)
            if self._answers or not began:
                self._branch = False
                view.take_results()
        self._live = hold(keeper, owner, definition, call, key, view)
        self.run = Run(self._live, stream, keeper.backend)

    @property
    def _answers(self) -> bool:
        return self._asked == "answer"

    @property
    def _log(self) -> RunLog:
        log = self._live.log
        if log is None:
            raise MissingCheckpointerError("This call has no log.")
        return log

    def decide(self, situation: Situation) -> Action:
        """What the call does."""
        view = self._view
        if self._branch and view is None:
            raise CheckpointNotFoundError(f"There is no thread {self._key.thread!r}.")
        questions = self._questions()
        if situation == "running" and self._answers and view is not None and view.scope.answers:
            questions = max(questions, 1)  # `post` says that somebody was faster
        return admit(
            situation,
            self._asked,
            thread=self._key.thread,
            questions=questions,
            on_pending=self._call.on_pending,
            branch=self._branch,
            posted=bool(view is not None and view.messages),
            late=len(self.run.questions.late(self._keeper.clock.time())),
            owner=view.head.owner if view is not None else None,
        )

    def _questions(self) -> int:
        view = self._view
        if view is None:
            return 0
        if self._branch and view.after is not None:
            return sum(map(len, (view.asked or view.after).asked.values()))
        return len(view.scope.all_open_asks())

    def _check_fits(self, *, begins: bool) -> None:
        """See that this version of the graph can do it.

        Raises:
            IncompatibleGraphError: it lacks something, or a graph within it does.
        """
        live, view, thread = self._live, self._view, self._key.thread
        if view is not None and view.origin is not None:
            view.origin.check(live.definition, live.scope, live.freezer, thread, due=not begins)
        if live.scope.nested and not begins:
            found = misfits_within(live.definition, live.scope)
            if found:
                raise incompatible(found, live.definition, thread)

    async def begin(
        self, action: Action, situation: Situation, posted: Message | None = None
    ) -> None:
        """Do it: one durable write, which makes this call the owner of the thread.

        Raises:
            FencedError: somebody else was faster.
        """
        live, log = self._live, self._log
        onto = self.run.onto = (live.scope.path, live.scope.weight) if self._branch else None
        if onto is not None and self._view is not None:
            await check_end(self._keeper, self._view.head)
            log.input = None  # the branch was never given what the head was given
        begins = action in (Action.BEGIN, Action.BRANCH_BEGIN)
        self._check_fits(begins=begins)
        if live.pending is not None and onto is None:
            live.migrate(live.pending)
            self.run.starts_here()
        # Also in "exit" durability: from the state at the end nobody could tell that these are
        # the tasks which have asked.
        log.all = action in (Action.BRANCH_ON, Action.BRANCH_ANSWER) or self._writes_beside(action)
        match action:
            case Action.BEGIN | Action.BRANCH_BEGIN:
                if live.scope.due and not self._branch:
                    live.promote()
                if live.pending is not None:  # then the branch begins with what migrations make
                    self._fork(onto)
                    onto = None
                await self._take_input(onto)
            case Action.GO_ON:
                mark = Mark("taken over" if situation == "crashed" else "resumed")
                log.add(mark, by=self._call.by, meta=self._meta)
                self._take_messages(posted)
                self.run.questions.take_expired()
            case Action.ANSWER:
                self._take_messages(None)
                self._answer(self._call.input)
                self.run.questions.take_expired()
            case Action.ANSWER_WITH_INPUT:
                self._take_messages(None)
                self._answer(Command(resume=self._call.input))
            case Action.BRANCH_ON:
                self._fork(onto)
            case Action.BRANCH_ANSWER:
                self._answer_on_fork(onto)
        if log.all:
            log.all, self.run.onto = False, None
            self.run.starts_here()
        if not live.scope.due:
            log.status = "finished"
        if not begins:
            self.run.teller.present()
        entering = bool(live.scope.due) and live.scope.due[0].node == START
        if entering and not live.definition.start.branches:
            # Where the input leads needs no code to be run: that rides in the same write.
            await self.run.enter()
        # Under "sync" and "async" an input, or an answer, is accepted when it is stored.
        await log.flush(wait=True)
        self.run.teller.release()

    async def give_up(self, error: BaseException | None) -> None:
        """End the run before it has begun, as far as it has the thread.

        Args:
            error: what it could not begin for; ``None`` for a cancelled call.
        """
        run, log = self.run, self._log
        try:
            with contextlib.suppress(DurableGraphError):  # the first error says more
                await run.stop(error)
                if log.claimed:
                    await run.close()  # only here does "exit" durability write that it has stopped
        finally:
            if log.broken:
                self._owner.leave(log)

    # -- the ways to begin ---------------------------------------------------------------------

    async def _take_input(self, onto: Onto | None) -> None:
        live, command = self._live, self._call.input
        self._log.input = await _digest_of(live.definition, command, self._secret)
        if isinstance(command, Command):
            outcome = live.outcome_of(START, read_command(live.definition, command))
            info = live.next_info("input", (), branch=onto is not None)
            joins = without_deferred(live.scope.joins)
            planned = plan_goto(live.definition, joins, outcome)
            live.add_results([(START, outcome)], info, planned, onto=onto, by=self._call.by)
        else:
            await take_input(live, onto)

    def _answer(self, command: Command[Any]) -> None:
        encoded = self._encoded(self._matched(command.resume))
        self._write_beside(command)
        self._record_answers(encoded)

    def _writes_beside(self, action: Action) -> bool:
        command = self._call.input
        return action is Action.ANSWER and (command.update is not None or bool(command.goto))

    def _write_beside(self, command: Command[Any]) -> None:
        """What a command writes besides its answer; what is due goes on waiting."""
        if command.update is None and not command.goto:
            return
        live, scope = self._live, self._live.scope
        outcome = live.outcome_of(START, read_command(live.definition, command))
        waiting = [DueTask(due.node, due.arg, carried=n) for n, due in enumerate(scope.due)]
        info = live.next_info("update", scope.nodes)
        # A node that is due already is not made due twice: it would write twice.
        once = {due.node for due in scope.due if due.arg is None}
        planned = plan_goto(live.definition, scope.joins, outcome, busy=bool(waiting))
        more = [due for due in planned.due if due.arg is not None or due.node not in once]
        planned = Plan([*waiting, *more], planned.joins)
        live.add_results([(START, outcome)], info, planned, by=self._call.by, closes=False)

    def _fork(self, onto: Onto | None, *, asks: bool = False) -> Fork:
        view, live = self._view, self._live
        inner = live.scope
        if asks and view is not None and view.after is not None:
            inner = view.asked or view.after
        whole = view is not None and bool(view.ns)
        return Fork(live, inner.copy(), onto, whole=whole, asks=asks)

    def _answer_on_fork(self, onto: Onto | None) -> None:
        """Answer questions of an earlier checkpoint, on a branch of its own.

        The branch's tasks are other tasks, with ids of their own, and so are their questions.
        They are recorded as asked there, and the answers go to them.
        """
        fork = self._fork(onto, asks=True)
        late = self.run.questions.late(self._keeper.clock.time(), fork.asking())
        asked, thread = list(fork.asks), self._key.thread
        answers = match_answers(self._call.input.resume, asked, (), thread, late)
        fork.ask_again()
        named = {fork.asks[name]: value for name, value in answers.items()}
        encoded = self._encoded(self.run.questions.checked(named))
        self._write_beside(self._call.input)
        self._record_answers(encoded)

    async def post(self) -> Message:
        """Leave the answer for the owner.

        Raises:
            ThreadBusyError: more is to be written than an answer, which only the owner can.
            InvalidUpdateError: it cannot be stored.
            StateTooLargeError: it is too large for that.
        """
        command = self._call.input
        if command.update is not None or command.goto:
            raise ThreadBusyError(
                f"Thread {self._key.thread!r} is being run, and an update or a goto beside an "
                f"answer needs it at rest. Give the answer alone, or wait for that run to end."
            )
        codec = self._live.definition.codec
        answers = self._matched(self._call.input.resume)
        self._encoded(answers)  # refuses what cannot be stored
        message = answer_message(
            self._keeper.chance.id(),
            {name: codec.encode(value) for name, value in answers.items()},
            self._call.by,
            self._keeper.clock.time(),
        )
        backend = self._keeper.backend
        check_message(message, backend.capabilities, self._key.thread)
        return await backend.post(self._key, message)

    @property
    def _meta(self) -> Mapping[str, Any] | None:
        """What the caller says about the run, if it is not what the last checkpoint says."""
        given = self._call.metadata
        return None if given == self._live.scope.meta else given

    def _take_messages(self, own: Message | None) -> None:
        if self._view is None or not self._view.messages:
            return
        questions = self.run.questions
        verdicts = take_answers(self._log, self._live, questions, self._view.messages)
        if own is not None and own.id in verdicts:
            self.run.refusal = verdict_error(verdicts[own.id], self._key.thread)

    def _matched(self, resume: Any) -> Mapping[str, Any]:
        scope, questions = self._live.scope, self.run.questions
        open_ids = [ask.id for ask in scope.all_open_asks()]
        late = questions.late(self._keeper.clock.time())
        matched = match_answers(resume, open_ids, scope.answers, self._key.thread, late)
        return questions.checked(matched)

    def _encoded(self, answers: Mapping[str, Any]) -> dict[str, bytes]:
        freezer = self._live.freezer
        return {name: freezer.value(value, "The answer") for name, value in answers.items()}

    def _record_answers(self, answers: Mapping[str, bytes]) -> None:
        blobs = self._live.freezer.take_new()
        self.run.questions.given = answers.keys()
        body, by, now = Answers(answers), self._call.by, self._keeper.clock.time()
        self._log.add(body, now, by=by, meta=self._meta, blobs=blobs)
        self._live.scope.answer(body, by, now)

    @property
    def _secret(self) -> bytes:
        return self._log.secret


async def _what_is_asked(call: Call, view: View | None, definition: GraphDefinition) -> Asked:
    if call.input is None:
        return "nothing"
    if isinstance(call.input, Command):
        return "answer" if call.answers else "input"
    if view is not None and view.head.input is not None:
        digest = await _digest_of(definition, call.input, view.head.secret)
        if digest == view.head.input:
            return "same input"
    return "input"


async def _digest_of(definition: GraphDefinition, value: Any, secret: bytes) -> str | None:
    taking = partial(input_digest, definition, value, secret)
    return await apart(taking) if is_bulky(value) else taking()
