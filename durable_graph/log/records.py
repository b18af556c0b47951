"""What the log of a thread consists of.

A *record* is a header (small, readable without the body) and a body. Bodies are JSON lines: the
first line is the structure, in which every value of the user's is a line number; the values
follow, one a line. So values are cut out of a body, and put into the next one, without being
parsed, and ``sqlite3`` or ``less`` shows them to a human.

Kinds of records:

========  =====================================================================================
commit    a checkpoint: what changed, the results that changed it, and what is due next
tasks     results of tasks whose siblings had not finished: done, asked, failed or to be retried
steps     what tasks that have not finished have done so far: steps claimed, done or given up
answers   answers to questions that tasks asked
mark      a turn in the thread's life that changes no state: resumed, taken over, stopped, ...
========  =====================================================================================

Format version 2, which also reads version 1. A change to what is written here raises `FORMAT` and
keeps reading the old: the corpus under ``tests/golden`` holds threads of every version.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import NoneType
from typing import Any, Final, Literal, NamedTuple, TypeAlias
from uuid import UUID

import orjson

from durable_graph.errors import ConfigError, IntegrityError
from durable_graph.log.delta import Op, Written
from durable_graph.types import TimeoutPolicy

__all__ = [
    "FORMAT",
    "Answer",
    "Answers",
    "Ask",
    "Body",
    "Caller",
    "Commit",
    "DueTask",
    "Head",
    "Kept",
    "KeptDue",
    "Kind",
    "Mark",
    "Outcome",
    "Packet",
    "Ranges",
    "Record",
    "Source",
    "Status",
    "Step",
    "Steps",
    "TaskResults",
    "ThreadKey",
    "checked_id",
    "decode_body",
    "encode_body",
]

FORMAT: Final = 2

_ID: Final = 36  # characters of a task's id

Kind: TypeAlias = Literal["commit", "tasks", "steps", "answers", "mark"]
Source: TypeAlias = Literal["input", "loop", "update", "fork", "migration"]
Status: TypeAlias = Literal["running", "finished", "failed", "asking", "stopped"]
Ranges: TypeAlias = tuple[tuple[int, int], ...]
"""Sequence numbers as ranges, both ends included, in ascending order."""


class ThreadKey(NamedTuple):
    """What names a thread in a backend."""

    tenant: str
    thread: str

    @classmethod
    def of(cls, thread_id: Any, tenant: str = "") -> ThreadKey:
        """The key of a thread that a caller names.

        Raises:
            ConfigError: the id is no usable text: 1 to 255 printable characters.
        """
        return cls(tenant, checked_id(thread_id, "thread_id"))


def checked_id(given: Any, what: str) -> str:
    """An id that a caller gives, as text.

    Args:
        given: the id.
        what: what it is the id of, for the error.

    Raises:
        ConfigError: it is no usable text: 1 to 255 printable characters.
    """
    if type(given) is int or isinstance(given, UUID):
        given = str(given)
    if not isinstance(given, str):
        raise ConfigError(f"A {what} is a str, not {type(given).__name__}.")
    if not 1 <= len(given) <= 255 or not given.isprintable():
        raise ConfigError(
            f"A {what} has 1 to 255 printable characters; this one is {given[:300]!r}."
        )
    return given


@dataclass(slots=True)
class Head:
    """The one row of a thread that changes: where its log ends, and who may extend it.

    Never changed once it is made, like a `Record`. Neither is declared frozen: making a frozen
    one takes six times as long, and every superstep makes some.

    Attributes:
        key: the thread.
        seq: sequence number of the last record; the first has 1.
        epoch: grows with every change of owner and every pruning; an append states the epoch it
            believes in.
        link: the last record's link in the hash chain; an append states it as well.
        secret: 16 random bytes that key the digests of the bodies.
        status: "running" while a run owns the thread.
        owner: the process that runs it.
        run: the run that wrote last.
        checkpoint: id of the last commit.
        step: its step.
        path: the records that must be folded for the present state.
        weight: bytes of these records.
        fresh: bytes written to the thread since its last snapshot.
        size: bytes written to the thread, all in all.
        input: digest of the input that the unfinished run was given, to know it again.
        reason: why the thread is not running, where the status alone does not say it.
        created: Unix time in seconds.
        updated: Unix time in seconds.
    """

    key: ThreadKey
    seq: int
    epoch: int
    link: bytes
    secret: bytes
    status: Status
    owner: str | None
    run: str | None
    checkpoint: str
    step: int
    path: Ranges
    weight: int
    fresh: int
    size: int
    input: str | None
    reason: str | None
    created: float
    updated: float


@dataclass(slots=True)
class Record:
    """One record as it is stored.

    Attributes:
        seq: its place in the thread's log.
        kind: what it is.
        checkpoint: the checkpoint's id, for commits.
        header: JSON; see `durable_graph.log.seal`.
        body: JSON lines; ``None`` once it was pruned.
        digest: keyed digest of the body.
        link: its link in the hash chain.
        previous: the link of the record before; not stored, but filled in on reading.
    """

    seq: int
    kind: Kind
    checkpoint: str | None
    header: bytes
    body: bytes | None
    digest: bytes
    link: bytes
    previous: bytes = b""


@dataclass(frozen=True, slots=True)
class Ask:
    """A question of a task.

    Attributes:
        id: see `durable_graph.decisions.answers.interrupt_id`.
        value: what is asked, encoded.
        schema: the JSON schema of its answers, encoded; ``None`` if any value is one.
        deadline: Unix time after which no answer is taken any more, if there is one.
        default: the answer that holds from then on, encoded; ``None`` if there is none.
        step: id of the step within the task that asks; empty for the task itself.
        handler: whether it is the error handler that asks, whose task has an id of its own.
    """

    id: str
    value: bytes
    schema: bytes | None = None
    deadline: float | None = None
    default: bytes | None = None
    step: str = ""
    handler: bool = False

    @property
    def content(self) -> bytes:
        """What makes it this question: its id is bound to it."""
        return self.value if self.schema is None else b"%b\0%b" % (self.value, self.schema)

    @property
    def parts(self) -> tuple[bytes, ...]:
        """Everything encoded in it."""
        return tuple(p for p in (self.value, self.schema, self.default) if p is not None)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a question was answered.

    Attributes:
        value: the answer, encoded; ``None`` if the deadline passed without one.
        by: who gave it, if they said so.
        time: when, Unix time.
    """

    value: bytes | None
    by: str | None = None
    time: float = 0.0


class Packet(NamedTuple):
    """A `Send`: the node, its encoded input, and how long it may take, if that was said."""

    node: str
    arg: bytes
    timeout: TimeoutPolicy | None = None


@dataclass(slots=True)
class Outcome:
    """How one execution of a due task ended, or where it stands.

    Attributes:
        index: which of the commit's due tasks; -1 for what a caller wrote to the state.
        writes: its updates, in order; almost always one.
        goto: nodes that its routers and commands chose.
        sends: `Send` packets.
        asks: the questions it stopped at; then it is not finished.
        error: what it failed with, as text; then it is not finished.
        attempts: failed attempts so far.
        retry_at: Unix time of the next attempt, if it is to be tried again.
        retry_in: seconds from the failure to then.
        caught: the error, as text, with which the node has failed for good and that its error
            handler is given: the handler is what runs, or what has ended so.
        cached: whether the result is an earlier execution's, kept in a cache.
    """

    index: int
    writes: Sequence[Mapping[str, Written]] = ()
    goto: tuple[str, ...] = ()
    sends: tuple[Packet, ...] = ()
    asks: tuple[Ask, ...] = ()
    error: str | None = None
    attempts: int = 0
    retry_at: float | None = None
    retry_in: float | None = None
    caught: str | None = None
    cached: bool = False

    @property
    def done(self) -> bool:
        """Whether the task has finished, so that it must not run again."""
        return self.error is None and not self.asks

    def written(self, key: str) -> list[Written]:
        """What it wrote to a key, in order."""
        return [update[key] for update in self.writes if key in update]


@dataclass(slots=True)
class DueTask:
    """One entry of a commit's list of what is due next.

    Attributes:
        node: the node to run.
        arg: the encoded argument of a `Send`; ``None`` for a node that reads the state.
        carried: index among the *previous* commit's due tasks, of a task that this commit
            leaves waiting: it keeps its id, its questions and its result, also where a migration
            has given it another node or argument.
        timeout: how long an attempt of it may take, where its `Send` says so.
    """

    node: str
    arg: bytes | None = None
    carried: int | None = None
    timeout: TimeoutPolicy | None = None


@dataclass(slots=True)
class Caller:
    """Who called a graph within another, and with what: kept to know the call again.

    Attributes:
        task: id of the calling task, and behind it that of the step within it, if one calls.
        graph: name of the graph that is called.
        input: digest of its input.
    """

    task: str
    graph: str
    input: str

    @property
    def due(self) -> str:
        """Id of the due task, whichever step of it calls."""
        return self.task[:_ID]


@dataclass(slots=True)
class KeptDue:
    """One entry of what is due in a graph that is kept as a whole; it may be of an earlier step.

    Attributes:
        branch: the branch it belongs to.
        step: the step of the checkpoint that made it due.
        node: the node to run.
        arg: the encoded argument, for a `Send`.
        push: its number among the sends, for a `Send`.
        timeout: how long an attempt of it may take, where its `Send` says so.
        first: the node that it was made due as, if that has another name by now.
    """

    branch: str
    step: int
    node: str
    arg: bytes | None
    push: int | None
    timeout: TimeoutPolicy | None = None
    first: str | None = None


@dataclass(slots=True)
class Kept:
    """One graph of a thread as a whole, in a commit of another; see `durable_graph.log.fold.Scope`
    for what is what."""

    ns: str
    checkpoint: str
    parent: str | None
    branch: str
    step: int
    source: Source
    time: float
    meta: Mapping[str, Any]
    run: str | None
    graph: str | None
    nodes: tuple[str, ...]
    values: Mapping[str, bytes]
    joins: Mapping[str, Sequence[str]]
    due: Sequence[KeptDue]
    outcomes: Sequence[Outcome]
    asked: Mapping[int, Sequence[Ask]]
    answers: Mapping[str, Answer]
    caller: Caller | None
    steps: Sequence[Step] = ()


@dataclass(slots=True)
class Commit:
    """A checkpoint.

    Exactly one of `delta` and `values` says what the state is: the changes since the parent, or
    all of it.

    Attributes:
        outcomes: results that are stored with the commit and not before it.
        delta: the operations by key.
        values: every key's value, encoded; then the commit is a snapshot.
        joins: names seen so far by each waiting join.
        due: what runs next.
        known: results of these next tasks that are there already: the start's is the input.
        caller: who called the graph, in the commit that takes the call's input.
        kept: other graphs of the thread as a whole: in a snapshot all that are there; in a fork
            those whose tasks have other ids from there on.
    """

    outcomes: Sequence[Outcome] = ()
    delta: Mapping[str, Op] | None = None
    values: Mapping[str, bytes] | None = None
    joins: Mapping[str, Sequence[str]] = field(default_factory=dict)
    due: Sequence[DueTask] = ()
    known: Sequence[Outcome] = ()
    caller: Caller | None = None
    kept: Sequence[Kept] = ()


@dataclass(slots=True)
class TaskResults:
    """Results of tasks whose siblings had not finished."""

    outcomes: Sequence[Outcome]


@dataclass(slots=True)
class Step:
    """Where one step within a task stands.

    Attributes:
        index: which of the commit's due tasks.
        id: the step, unique within its task; the same in every execution.
        name: its key, or the name of its function: for people.
        kind: "step", "task" (a function of the functional API) or "transaction".
        digest: of its arguments.
        state: "claimed": it may have happened. "done": it has. "failed": it has not.
        value: its result, encoded, once it is done.
        error: what it failed with, as text.
        cached: whether the result is an earlier call's, kept in a cache.
    """

    index: int
    id: str
    name: str
    kind: str
    digest: str
    state: str
    value: bytes | None = None
    error: str | None = None
    cached: bool = False


@dataclass(slots=True)
class Steps:
    """Steps of tasks that have not finished; of one step, the last entry counts."""

    steps: list[Step]


@dataclass(slots=True)
class Answers:
    """Answers, all from one hand: the record's header says whose, and when they were given.

    Attributes:
        answers: by interrupt id, encoded.
        expired: the questions whose deadline has passed and that have no default.
    """

    answers: Mapping[str, bytes]
    expired: Sequence[str] = ()


@dataclass(slots=True)
class Mark:
    """A turn in the thread's life that changes no state."""

    event: str
    detail: str | None = None


Body: TypeAlias = Commit | TaskResults | Steps | Answers | Mark

KIND_OF: Final[Mapping[type[Any], Kind]] = {
    Commit: "commit",
    TaskResults: "tasks",
    Steps: "steps",
    Answers: "answers",
    Mark: "mark",
}


def encode_body(body: Body) -> bytes:
    """The stored form of a body."""
    lines = _Lines()
    match body:
        case Commit():
            structure = _commit(body, lines)
        case TaskResults(outcomes):
            structure = {"outcomes": [_outcome(outcome, lines) for outcome in outcomes]}
        case Steps(steps):
            structure = {"steps": [_step(step, lines) for step in steps]}
        case Answers(answers, expired):
            structure = {"answers": {name: lines.add(value) for name, value in answers.items()}}
            if expired:
                structure["expired"] = expired
        case Mark(event, detail):
            structure = {"event": event, "detail": None if detail is None else _text(detail)}
    return b"\n".join((orjson.dumps(structure), *lines))


def decode_body(kind: Kind, data: bytes) -> Body:
    """The body in its stored form.

    Raises:
        IntegrityError: the bytes are not what `encode_body` writes.
    """
    try:
        first, *values = data.split(b"\n")
        structure = orjson.loads(first)
        match kind:
            case "commit":
                return _read_commit(structure, values)
            case "tasks":
                return TaskResults(_read_outcomes(structure["outcomes"], values))
            case "steps":
                return Steps([_read_step(entry, values) for entry in structure["steps"]])
            case "answers":
                answers = {k: values[line] for k, line in structure["answers"].items()}
                return Answers(answers, tuple(structure.get("expired", ())))
            case "mark":
                return Mark(structure["event"], structure["detail"])
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise IntegrityError(f"The body of a {kind} record is damaged.") from error
    raise IntegrityError(f"There is no kind of record called {kind!r}.")


class _Lines(dict[bytes, int]):
    """Collects the values of a body, each with its line's number; equal values share a line."""

    __slots__ = ()

    def add(self, value: bytes) -> int:
        return self.setdefault(value, len(self))


def _text(text: str) -> str:
    """A text for people that can be written: file names and errors may have any bytes in them."""
    return text.encode("utf-8", "backslashreplace").decode()


def _op(op: Op, lines: _Lines) -> Sequence[Any]:
    match op:
        case ("w", _):  # by far the most frequent, and nothing in it has a line
            return op
        case ("m", members, removed):
            return ["m", {name: lines.add(value) for name, value in members.items()}, removed]
        case _:
            return [lines.add(part) if type(part) is bytes else part for part in op]


def _read_op(plain: list[Any], values: list[bytes]) -> Op:
    match plain:
        case ["=" | "+" as code, int(line)]:
            return (code, values[line])
        case ["~", int(start), int(count), int(line)]:
            return ("~", start, count, values[line])
        case ["m", dict(members), list(removed)]:
            return ("m", {k: values[line] for k, line in members.items()}, tuple(removed))
        case ["w" | "a" | "" | "-", *tasks] if all(type(task) is int for task in tasks):
            return tuple(plain)
    raise ValueError(plain)


def _written(written: Written, lines: _Lines) -> Any:
    return lines.add(written) if type(written) is bytes else _op(written, lines)  # type: ignore[arg-type]


def _outcome(outcome: Outcome, lines: _Lines) -> dict[str, Any]:
    plain: dict[str, Any] = {"index": outcome.index}
    if outcome.writes:
        plain["writes"] = [
            {key: _written(value, lines) for key, value in update.items()}
            for update in outcome.writes
        ]
    if outcome.goto:
        plain["goto"] = outcome.goto
    if outcome.sends:
        plain["sends"] = [_packet(packet, lines) for packet in outcome.sends]
    if outcome.asks:
        plain["asks"] = [_ask(ask, lines) for ask in outcome.asks]
    if outcome.error is not None:
        plain["error"] = _text(outcome.error)
    if outcome.attempts:
        plain["attempts"] = outcome.attempts
    if outcome.retry_at is not None:
        plain["retry"] = [outcome.retry_at, outcome.retry_in]
    if outcome.caught is not None:
        plain["caught"] = _text(outcome.caught)
    if outcome.cached:
        plain["cached"] = True
    return plain


def _ask(ask: Ask, lines: _Lines) -> list[Any]:
    terms: dict[str, Any] = {}
    if ask.schema is not None:
        terms["schema"] = lines.add(ask.schema)
    if ask.deadline is not None:
        terms["deadline"] = ask.deadline
    if ask.default is not None:
        terms["default"] = lines.add(ask.default)
    if ask.step:
        terms["step"] = ask.step
    if ask.handler:
        terms["handler"] = True
    plain = [ask.id, lines.add(ask.value)]
    return [*plain, terms] if terms else plain


def _read_ask(plain: list[Any], values: list[bytes]) -> Ask:
    name, line, terms, *_ = (*plain, {})
    schema, default = terms.get("schema"), terms.get("default")
    deadline, step = terms.get("deadline"), terms.get("step", "")
    if type(name) is not str or type(deadline) not in (float, int, NoneType):
        raise TypeError(plain)
    if type(step) is not str:
        raise TypeError(plain)
    return Ask(
        name,
        values[line],
        None if schema is None else values[schema],
        deadline,
        None if default is None else values[default],
        step,
        bool(terms.get("handler")),
    )


def _packet(packet: Packet, lines: _Lines) -> list[Any]:
    plain = [packet.node, lines.add(packet.arg)]
    return plain if packet.timeout is None else [*plain, _limits(packet.timeout)]


def _read_packet(plain: list[Any], values: list[bytes]) -> Packet:
    node, line, limits, *_ = (*plain, None)
    return Packet(node, values[line], _read_limits(limits))


def _limits(timeout: TimeoutPolicy) -> list[Any]:
    return [timeout.run_timeout, timeout.idle_timeout, timeout.refresh_on]


def _read_limits(plain: list[Any] | None) -> TimeoutPolicy | None:
    return None if plain is None else TimeoutPolicy(*plain)


def _read_outcomes(plain: Iterable[dict[str, Any]], values: list[bytes]) -> list[Outcome]:
    return [
        Outcome(
            index=entry["index"],
            writes=[
                {
                    key: values[part] if type(part) is int else _read_op(part, values)
                    for key, part in update.items()
                }
                for update in entry.get("writes", ())
            ],
            goto=tuple(entry.get("goto", ())),
            sends=tuple(_read_packet(packet, values) for packet in entry.get("sends", ())),
            asks=tuple(_read_ask(ask, values) for ask in entry.get("asks", ())),
            error=entry.get("error"),
            attempts=entry.get("attempts", 0),
            retry_at=entry.get("retry", (None, None))[0],
            retry_in=entry.get("retry", (None, None))[1],
            caught=entry.get("caught"),
            cached=entry.get("cached", False),
        )
        for entry in plain
    ]


def _step(step: Step, lines: _Lines) -> dict[str, Any]:
    plain: dict[str, Any] = {
        "index": step.index,
        "id": step.id,
        "name": _text(step.name),
        "kind": step.kind,
        "digest": step.digest,
        "state": step.state,
    }
    if step.value is not None:
        plain["value"] = lines.add(step.value)
    if step.error is not None:
        plain["error"] = _text(step.error)
    if step.cached:
        plain["cached"] = True
    return plain


def _read_step(plain: dict[str, Any], values: list[bytes]) -> Step:
    line = plain.get("value")
    texts = [plain[name] for name in ("id", "name", "kind", "digest", "state")]
    if type(plain["index"]) is not int or not all(type(text) is str for text in texts):
        raise TypeError(plain)
    id, name, kind, digest, state = texts
    if state not in ("claimed", "done", "failed") or (state == "done") != (line is not None):
        raise ValueError(plain)
    value = None if line is None else values[line]
    error, cached = plain.get("error"), plain.get("cached", False)
    return Step(plain["index"], id, name, kind, digest, state, value, error, cached)


def _commit(commit: Commit, lines: _Lines) -> dict[str, Any]:
    plain: dict[str, Any] = {}
    if commit.outcomes:
        plain["outcomes"] = [_outcome(outcome, lines) for outcome in commit.outcomes]
    if commit.values is not None:
        plain["values"] = {key: lines.add(value) for key, value in commit.values.items()}
    elif commit.delta:
        plain["delta"] = {key: _op(op, lines) for key, op in commit.delta.items()}
    if commit.joins:
        plain["joins"] = commit.joins
    if commit.due:
        plain["due"] = [_due(entry, lines) for entry in commit.due]
    if commit.known:
        plain["known"] = [_outcome(outcome, lines) for outcome in commit.known]
    if commit.caller is not None:
        plain["caller"] = _caller(commit.caller)
    if commit.kept:
        plain["kept"] = [_kept(kept, lines) for kept in commit.kept]
    return plain


def _caller(caller: Caller) -> list[str]:
    return [caller.task, caller.graph, caller.input]


def _kept(kept: Kept, lines: _Lines) -> dict[str, Any]:
    plain: dict[str, Any] = {
        "ns": kept.ns,
        "id": kept.checkpoint,
        "parent": kept.parent,
        "branch": kept.branch,
        "step": kept.step,
        "source": kept.source,
        "time": kept.time,
        "meta": kept.meta,
        "run": kept.run,
        "graph": kept.graph,
        "nodes": kept.nodes,
        "values": {key: lines.add(value) for key, value in kept.values.items()},
        "joins": kept.joins,
        "due": [_kept_due(due, lines) for due in kept.due],
        "outcomes": [_outcome(outcome, lines) for outcome in kept.outcomes],
        "asked": [[i, [_ask(ask, lines) for ask in asks]] for i, asks in kept.asked.items()],
        "answers": {
            name: [None if a.value is None else lines.add(a.value), a.by, a.time]
            for name, a in kept.answers.items()
        },
        "caller": None if kept.caller is None else _caller(kept.caller),
    }
    if kept.steps:
        plain["steps"] = [_step(step, lines) for step in kept.steps]
    return plain


def _read_kept(plain: dict[str, Any], values: list[bytes]) -> Kept:
    return Kept(
        ns=plain["ns"],
        checkpoint=plain["id"],
        parent=plain["parent"],
        branch=plain["branch"],
        step=plain["step"],
        source=plain["source"],
        time=plain["time"],
        meta=plain["meta"],
        run=plain["run"],
        graph=plain["graph"],
        nodes=tuple(plain["nodes"]),
        values={key: values[line] for key, line in plain["values"].items()},
        joins={name: tuple(seen) for name, seen in plain["joins"].items()},
        due=[_read_kept_due(due, values) for due in plain["due"]],
        outcomes=_read_outcomes(plain["outcomes"], values),
        asked={i: tuple(_read_ask(ask, values) for ask in asks) for i, asks in plain["asked"]},
        answers={
            name: Answer(None if line is None else values[line], by, time)
            for name, (line, by, time) in plain["answers"].items()
        },
        caller=None if plain["caller"] is None else Caller(*plain["caller"]),
        steps=tuple(_read_step(step, values) for step in plain.get("steps", ())),
    )


def _kept_due(due: KeptDue, lines: _Lines) -> list[Any]:
    arg = None if due.arg is None else lines.add(due.arg)
    plain = [due.branch, due.step, due.node, arg, due.push]
    if due.timeout is not None or due.first is not None:
        plain.append(None if due.timeout is None else _limits(due.timeout))
    return plain if due.first is None else [*plain, due.first]


def _read_kept_due(plain: list[Any], values: list[bytes]) -> KeptDue:
    branch, step, node, line, push, limits, first, *_ = (*plain, None, None)
    arg = None if line is None else values[line]
    return KeptDue(branch, step, node, arg, push, _read_limits(limits), first)


def _due(entry: DueTask, lines: _Lines) -> list[Any]:
    arg = None if entry.arg is None else lines.add(entry.arg)
    if entry.timeout is not None:
        return [entry.node, arg, entry.carried, _limits(entry.timeout)]
    if entry.carried is not None:
        return [entry.node, arg, entry.carried]
    return [entry.node] if arg is None else [entry.node, arg]


def _read_due(plain: list[Any], values: list[bytes]) -> DueTask:
    node, arg, carried, limits, *_ = (*plain, None, None, None)
    if type(node) is not str:
        raise TypeError(node)
    return DueTask(node, None if arg is None else values[arg], carried, _read_limits(limits))


def _read_commit(plain: dict[str, Any], values: list[bytes]) -> Commit:
    whole = plain.get("values")
    return Commit(
        outcomes=_read_outcomes(plain.get("outcomes", ()), values),
        delta=None
        if whole is not None
        else {key: _read_op(op, values) for key, op in plain.get("delta", {}).items()},
        values=None if whole is None else {key: values[line] for key, line in whole.items()},
        joins={name: tuple(seen) for name, seen in plain.get("joins", {}).items()},
        due=[_read_due(entry, values) for entry in plain.get("due", ())],
        known=_read_outcomes(plain.get("known", ()), values),
        caller=Caller(*plain["caller"]) if "caller" in plain else None,
        kept=tuple(_read_kept(kept, values) for kept in plain.get("kept", ())),
    )
