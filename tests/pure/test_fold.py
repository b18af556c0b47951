"""Records become state: the same wherever the fold begins, whatever the branch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from durable_graph.errors import IntegrityError
from durable_graph.log.codec import blob_reference
from durable_graph.log.delta import Written, diff, flat
from durable_graph.log.fold import Scope, task_id
from durable_graph.log.records import (
    Answer,
    Answers,
    Ask,
    Commit,
    DueTask,
    Head,
    Mark,
    Outcome,
    Packet,
    Ranges,
    Record,
    TaskResults,
)
from durable_graph.log.seal import open_record
from durable_graph.ports.backend import checkpoint_path
from tests.pure.bodies import SECRET, draft, info, sealed

Q1, Q2 = Ask("1" * 32, b'"first?"'), Ask("2" * 32, b'"second?"')


@dataclass
class _Position:
    values: dict[str, bytes]
    path: Ranges
    weight: int


class _Log:
    """A thread that grows by drawn records, and what its state has to be at each checkpoint."""

    def __init__(self) -> None:
        self.head: Head | None = None
        self.records: list[Record] = []
        self.checkpoints: dict[str, _Position] = {}
        self.values: dict[str, bytes] = {}

    def add(self, body: Commit | TaskResults | Mark, onto: str | None = None) -> None:
        name = f"c{len(self.records)}"
        at = self.checkpoints[onto] if onto is not None else None
        made = draft(body, name, onto=None if at is None else (at.path, at.weight))
        self.head, records = sealed([made], self.head)
        self.records += records
        if isinstance(body, Commit):
            here = _Position(dict(self.values), self.head.path, self.head.weight)
            self.checkpoints[name] = here

    def fold(self, path: Ranges) -> Scope:
        scope = Scope()
        for first, last in path:
            for record in self.records[first - 1 : last]:
                scope.apply(*open_record(record, SECRET, "thread"))
        return scope


_arrays = st.lists(st.integers(0, 3).map("element {} of a list".format), max_size=9)
_objects = st.dictionaries(st.sampled_from("abcdef"), st.just("a member's value"), max_size=6)
_events = st.sampled_from(["op", "task", "task", "rider", "snapshot", "drop", "fork", "mark"])


@given(st.data())
def test_every_checkpoint_is_folded_from_its_own_path(data: st.DataObject) -> None:
    """However a log grew and branched, each path gives the state its checkpoint had."""
    log = _Log()
    log.add(Commit(delta={}, due=[DueTask("n")]))
    for _ in range(data.draw(st.integers(1, 12))):
        event = data.draw(_events)
        key = data.draw(st.sampled_from("xyz"))
        new = orjson.dumps(data.draw(st.one_of(_arrays, _objects)))
        change = diff(log.values.get(key), new)
        if event == "fork":
            onto = data.draw(st.sampled_from(sorted(log.checkpoints)))
            log.values = dict(log.checkpoints[onto].values)
            log.add(Commit(delta={}, due=[DueTask("n")]), onto)
        elif event == "mark":
            log.add(Mark("resumed"))
        elif event == "drop":
            dropped = log.values.pop(key, None)
            log.add(Commit(delta={} if dropped is None else {key: ("-",)}, due=[DueTask("n")]))
        else:
            log.values[key] = new
            result = Outcome(0, [{key: change}])
            delta = {key: change if event == "op" else ("w", 0)}
            body = Commit([result] if event == "rider" else [], delta, due=[DueTask("n")])
            if event == "task":
                log.add(TaskResults([result]))
            elif event == "snapshot":
                body = Commit(values=log.values, due=[DueTask("n")])
            log.add(body)
    assert log.head is not None
    assert {k: flat(v) for k, v in log.fold(log.head.path).values.items()} == log.values
    for record in log.records:
        if record.checkpoint is not None:
            scope = log.fold(checkpoint_path(record, "thread"))
            expected = log.checkpoints[record.checkpoint]
            assert {k: flat(v) for k, v in scope.values.items()} == expected.values
            assert (scope.checkpoint, scope.path) == (record.checkpoint, expected.path)
            assert scope.weight == expected.weight
            assert scope.size() == sum(map(len, expected.values.values()))


def committed(scope: Scope, due: Sequence[DueTask], name: str = "c", **more: object) -> Scope:
    """A scope after one more commit."""
    header = replace(info(name, branch="b", step=scope.step + 1))
    scope.commit(Commit(delta={}, due=due, **more), header, 1.0, "run")  # type: ignore[arg-type]
    return scope


def test_the_id_of_a_task_is_the_same_for_ever() -> None:
    """Task ids are keys in logs and in outside systems: no release may compute others."""
    assert task_id("b", "", 3, "node", None) == "c52033ce-3429-66ca-8381-e256be6e8e97"


def test_different_tasks_have_different_ids() -> None:
    """Branch, namespace, step, node and number of the send all tell tasks apart."""
    ids = {
        task_id(branch, ns, step, node, push)
        for branch in ("b", "c")
        for ns in ("", "n")
        for step in (1, 2)
        for node in ("n", "n2")
        for push in (None, 0, 1)
    }
    assert len(ids) == 48


def test_a_lost_commit_does_not_change_the_ids_of_its_tasks() -> None:
    """The id depends on branch and step, not on the checkpoint, which may be made twice."""
    one, two = (committed(Scope(), [DueTask("n")], name) for name in ("c1", "c2"))
    assert one.due == two.due


def test_sends_are_numbered_in_their_order() -> None:
    """The n-th send of a checkpoint is number n, whatever else is due."""
    due = [DueTask("a"), DueTask("w", b"1"), DueTask("b"), DueTask("w", b"2"), DueTask("v", b"3")]
    scope = committed(Scope(), due)
    assert [entry.push for entry in scope.due] == [None, 0, None, 1, 2]
    assert len({entry.id for entry in scope.due}) == 5


def test_a_task_is_runnable_until_it_is_done_or_waits() -> None:
    """Done tasks do not run again, asking ones wait for all answers, failed ones may run."""
    scope = committed(Scope(), [DueTask(node) for node in "abcd"])
    scope.record([Outcome(0), Outcome(1, asks=(Q1, Q2)), Outcome(2, error="E: x")])
    assert scope.unfinished() == [1, 2, 3]
    assert scope.runnable() == [2, 3]
    assert scope.all_open_asks() == scope.open_asks(1) == [Q1, Q2]
    scope.answers[Q1.id] = Answer(b"1")
    assert scope.open_asks(1) == [Q2]
    scope.answers[Q2.id] = Answer(b"2")
    assert scope.runnable() == [1, 2, 3]


def test_every_question_is_remembered_in_order() -> None:
    """A task that runs again and asks more is known by all it ever asked, each once."""
    scope = committed(Scope(), [DueTask("a")])
    scope.record([Outcome(0, asks=(Q1,))])
    scope.record([Outcome(0, asks=(Q1, Q2))])
    scope.record([Outcome(0)])
    assert scope.asked == {0: [Q1, Q2]}
    assert scope.open_asks(0) == []


def test_a_commit_forgets_the_tasks_before_it() -> None:
    """Results, questions and answers belong to the tasks of one checkpoint."""
    scope = committed(Scope(), [DueTask("a")])
    scope.record([Outcome(0, asks=(Q1,))])
    scope.answers[Q1.id] = Answer(b"1")
    committed(scope, [DueTask("b")], known=[Outcome(0, goto=("c",))])
    assert (scope.asked, scope.answers) == ({}, {})
    assert scope.outcomes == {0: Outcome(0, goto=("c",))}


def test_a_carried_task_stays_the_same_task() -> None:
    """It keeps id, result, questions and answers, at whatever place it is due again."""
    scope = committed(Scope(), [DueTask("a"), DueTask("w", b"1")])
    before = scope.due[1]
    scope.record([Outcome(0), Outcome(1, asks=(Q1, Q2), attempts=2)])
    scope.answers |= {Q1.id: Answer(b"1"), "other": Answer(b"0")}
    committed(scope, [DueTask("w", b"1", carried=1), DueTask("n")])
    assert scope.due[0] is before
    assert scope.outcomes == {0: Outcome(0, asks=(Q1, Q2), attempts=2)}
    assert scope.asked == {0: [Q1, Q2]}
    assert scope.answers == {Q1.id: Answer(b"1")}
    assert scope.open_asks(0) == [Q2]


def test_a_copy_moves_on_by_itself() -> None:
    """Whatever is done to a copy, the original stays as it was."""
    scope = committed(Scope(), [DueTask("a")])
    scope.values["k"] = b"[1]"
    scope.record([Outcome(0, asks=(Q1,))])
    before = repr(scope)
    copy = scope.copy()
    assert repr(copy) == before
    copy.record([Outcome(0, asks=(Q2,))])
    copy.answers["x"] = Answer(b"1")
    header = info("c9", step=5)
    copy.commit(
        Commit(delta={"k": ("+", b"[2]")}, joins={"j": ("a",)}, due=[DueTask("z")]),
        header,
        2.0,
        "other",
    )
    assert repr(scope) == before


def test_records_move_on_a_scope_and_its_path() -> None:
    """Each kind of record is applied, and from then on belongs to what must be folded."""
    head, records = sealed(
        [
            draft(Commit(delta={}, due=[DueTask("a")]), "c0"),
            draft(TaskResults([Outcome(0, asks=(Q1,))])),
            draft(Mark("asking")),
            draft(Answers({Q1.id: b"7"}, ("over",))),
        ]
    )
    scope = Scope()
    for record in records:
        scope.apply(*open_record(record, SECRET, "thread"))
    assert scope.path == head.path == ((1, 4),)
    assert scope.answers == {Q1.id: Answer(b"7", None, 12.5), "over": Answer(None, None, 12.5)}
    assert scope.runnable() == [0]


def test_a_snapshot_is_the_whole_state() -> None:
    """Keys that it does not hold have no value any more."""
    scope = Scope(values={"gone": b"1", "kept": b"1"})
    scope.commit(Commit(values={"kept": b"2"}), info("c"), 1.0, "run")
    assert scope.values == {"kept": b"2"}


def test_joins_are_those_of_the_last_commit() -> None:
    """What the waiting joins have seen is stated by each commit anew."""
    scope = committed(Scope(), [], joins={"a+b:c": ["a"]})
    assert scope.joins == {"a+b:c": ("a",)}
    assert committed(scope, []).joins == {}


def _blob(n: int) -> bytes:
    return blob_reference(f"{n}" * 64)


def test_the_large_values_of_a_position_are_found_wherever_they_are() -> None:
    """In values, arguments, results of every form, sends, questions and answers."""
    scope = committed(Scope(), [DueTask("w", _blob(1)), DueTask("a"), DueTask("b")])
    scope.values["k"] = _blob(2)
    writes: list[dict[str, Written]] = [
        {"k": _blob(3)},
        {"k": ("+", _blob(4)), "l": ("m", {"x": _blob(5)}, ("y",))},
    ]
    scope.record([Outcome(0, writes, sends=(Packet("n", _blob(6)),))])
    scope.record([Outcome(1, asks=(Ask("q", _blob(7), _blob(0), 9.5, _blob(9)),))])
    scope.answers |= {"q": Answer(_blob(8)), "over": Answer(None)}
    assert scope.blobs() == {f"{n}" * 64 for n in range(10)}


def test_a_commit_without_its_header_is_damage() -> None:
    """A commit's record has the commit's part in its header, or is refused."""
    _, (record,) = sealed([draft(Commit(delta={}))])
    header, body = open_record(record, SECRET, "thread")
    with pytest.raises(IntegrityError, match="Record 1 is a commit without its header"):
        Scope().apply(replace(header, commit=None), body)


def test_carrying_on_a_task_that_was_not_due_is_damage() -> None:
    """A carried task names one of the tasks that were due before."""
    with pytest.raises(IntegrityError, match="Checkpoint c carries on a task that was not due"):
        committed(Scope(), [DueTask("a", carried=0)])


def test_an_operation_that_fits_no_task_is_damage() -> None:
    """A delta that refers to a result which is not there is refused."""
    with pytest.raises(IntegrityError, match="does not fit the value"):
        Scope().commit(Commit(delta={"k": ("w", 0)}), info("c"), 1.0, "run")
