"""Graphs within graphs are folded along with their thread, wherever the fold begins."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import orjson
from hypothesis import given
from hypothesis import strategies as st

from durable_graph.log.delta import flat
from durable_graph.log.fold import Scope
from durable_graph.log.namespace import called_ns, numbered
from durable_graph.log.records import (
    Answers,
    Ask,
    Body,
    Caller,
    Commit,
    DueTask,
    Head,
    Outcome,
    Ranges,
    Record,
    TaskResults,
)
from durable_graph.log.seal import Draft, open_record
from durable_graph.ports.backend import checkpoint_path
from tests.pure.bodies import SECRET, info, sealed


def form(scope: Scope) -> dict[str, Any]:
    """What a scope holds, ropes spelt out; where it stands in the log is the thread's only."""
    plain = {f.name: getattr(scope, f.name) for f in fields(scope)}
    del plain["root"], plain["path"], plain["weight"]
    plain["meta"], plain["joins"] = dict(scope.meta), dict(scope.joins)
    plain["asked"] = {index: list(asks) for index, asks in scope.asked.items() if asks}
    plain["values"] = {key: flat(value) for key, value in scope.values.items()}
    plain["nested"] = {ns: form(nested) for ns, nested in scope.nested.items()}
    return plain


class Thread:
    """A thread as a run moves it on, with the log that it writes."""

    def __init__(self) -> None:
        self.head: Head | None = None
        self.records: list[Record] = []
        self.live = Scope()
        self.at: dict[str, Scope] = {}
        self.paths: dict[str, tuple[Ranges, int]] = {}

    def add(self, body: Body, ns: str = "", *, fork: str | None = None) -> None:
        """Move on by a record; with `fork`, from an earlier checkpoint."""
        name, onto, commit = f"c{len(self.records)}", None, None
        if fork is not None:
            self.live, onto = self.at[fork].copy(), self.paths[fork]
        scope = self.live.within(ns) if ns else self.live
        match body:
            case Commit():
                source = "fork" if fork is not None else "loop"
                branch = name if fork is not None else self.live.branch or name
                commit = info(name, branch=branch, step=scope.step + 1, source=source)
                commit = replace(commit, parent=scope.checkpoint or None)
                scope.commit(body, commit, 12.5, "run")
                if body.values is not None:
                    scope.complete(body)
            case TaskResults(outcomes):
                scope.record(outcomes)
            case Answers():
                scope.answer(body, None, 12.5)
        self.head, records = sealed(
            [Draft(body, 12.5, "run", ns=ns, commit=commit, onto=onto)], self.head
        )
        self.records += records
        if commit is not None:
            self.at[name] = self.live.copy()
            self.paths[name] = (self.head.path, self.head.weight)

    def fold(self, path: Ranges) -> Scope:
        """The thread as reading it gives it."""
        scope = Scope()
        for first, last in path:
            for record in self.records[first - 1 : last]:
                scope.apply(*open_record(record, SECRET, "thread"))
        return scope


def forked(scope: Scope) -> Commit:
    """A commit that begins a new branch at a position, with the graphs within under new names."""
    names = {due.id: f"on-{due.id}" for due in scope.due}
    kept = [nested.kept(names, "branch") for nested in scope.nested.values()]
    return Commit(delta={}, due=[DueTask(d.node, d.arg) for d in scope.due], kept=kept)


events = st.sampled_from(
    ["commit", "commit", "snapshot", "task", "ask", "answer", "call", "call", "fork"]
)


@given(st.data())
def test_folded_is_live(data: st.DataObject) -> None:
    """Every checkpoint of every graph, read along its own path, is the state that the run had."""
    thread = Thread()
    thread.add(Commit(delta={}, due=[DueTask("a"), DueTask("b")]))
    for turn in range(data.draw(st.integers(1, 14))):
        whole = thread.live
        ns = data.draw(st.sampled_from(["", *sorted(whole.nested)]))
        scope = whole.nested[ns] if ns else whole
        event = data.draw(events)
        value = orjson.dumps(f"{turn}: a value of the state")
        if event == "call":
            if scope.due:
                task = data.draw(st.sampled_from(scope.due))
                inner = numbered(called_ns(ns, task.node, task.id), data.draw(st.integers(0, 1)))
                if inner not in whole.nested:
                    caller = Caller(task.id, "graph", "digest")
                    thread.add(
                        Commit(delta={"k": ("=", value)}, due=[DueTask("a")], caller=caller), inner
                    )
        elif event == "fork":
            name = data.draw(st.sampled_from(sorted(thread.at)))
            thread.add(forked(thread.at[name]), fork=name)
        elif event in ("task", "ask") and scope.due:
            asks = (Ask(f"{turn:032}", value),) if event == "ask" else ()
            index = data.draw(st.integers(0, len(scope.due) - 1))
            outcome = Outcome(index, [] if asks else [{"k": value}], asks=asks)
            thread.add(TaskResults([outcome]), ns)
            if ns and asks:  # as the task does that called this graph
                thread.add(TaskResults([replace(outcome, index=0)]))
        elif event == "answer":
            thread.add(Answers({ask.id: b"1" for ask in whole.all_open_asks()[:1]}))
        elif event == "commit":
            due = [DueTask(node) for node in data.draw(st.sets(st.sampled_from("ab")))]
            thread.add(Commit(delta={"k": ("=", value)}, due=due), ns)
        elif event == "snapshot":
            thread.add(Commit(values={"k": value}, due=[DueTask("b")]), ns)
    assert thread.head is not None
    assert form(thread.fold(thread.head.path)) == form(thread.live)
    for record in thread.records:
        if record.checkpoint is not None:
            folded = thread.fold(checkpoint_path(record, "thread"))
            assert form(folded) == form(thread.at[record.checkpoint])
            assert (folded.path, folded.weight) == thread.paths[record.checkpoint]


def called(thread: Thread, index: int = 0, ns: str = "") -> str:
    """Have a due task call a graph that makes `x` due; returns its namespace."""
    due = (thread.live.nested[ns] if ns else thread.live).due[index]
    inner = called_ns(ns, due.node, due.id)
    body = Commit(delta={}, due=[DueTask("x")], caller=Caller(due.id, "graph", ""))
    thread.add(body, inner)
    return inner


def test_a_commit_drops_what_its_ended_tasks_have_called() -> None:
    """However deep; what carried tasks have called stays."""
    thread = Thread()
    thread.add(Commit(delta={}, due=[DueTask("a"), DueTask("b")]))
    gone, stays = called(thread, 0), called(thread, 1)
    called(thread, 0, gone)
    deeper = called(thread, 0, stays)
    thread.add(Commit(delta={}, due=[DueTask("b", carried=1)]))
    assert set(thread.live.nested) == {stays, deeper}
    thread.add(Commit(delta={}, due=[DueTask("y")]), stays)
    assert set(thread.live.nested) == {stays}
    thread.add(Commit(delta={}))
    assert not thread.live.nested


def test_what_keeps_its_state_is_there_for_good() -> None:
    """A graph without an id in its namespace belongs to the thread."""
    thread = Thread()
    thread.add(Commit(delta={}, due=[DueTask("a")]))
    thread.add(Commit(delta={"k": ("=", b"1")}), "a")
    thread.add(Commit(delta={}))
    assert thread.live.nested["a"].values == {"k": b"1"}


def test_the_head_speaks_of_the_root_graph() -> None:
    """A commit of a graph within moves the log on, and neither checkpoint nor step of its head."""
    thread = Thread()
    thread.add(Commit(delta={}, due=[DueTask("a")]))
    called(thread)
    assert thread.head is not None
    assert (thread.head.seq, thread.head.checkpoint, thread.head.step) == (2, "c0", -1)


def test_an_answer_is_there_for_all_graphs_of_the_thread() -> None:
    """A question of a graph within is open until the thread has an answer to it."""
    thread = Thread()
    thread.add(Commit(delta={}, due=[DueTask("a")]))
    ns, ask = called(thread), Ask("1" * 32, b'"?"')
    thread.add(TaskResults([Outcome(0, asks=(ask,))]), ns)
    thread.add(TaskResults([Outcome(0, asks=(ask,))]))
    assert thread.live.nested[ns].open_asks(0) == thread.live.open_asks(0) == [ask]
    thread.add(Answers({ask.id: b"1"}))
    assert thread.live.nested[ns].runnable() == thread.live.runnable() == [0]


def test_one_of_several_answers_lets_the_graph_within_go_on() -> None:
    """A task that asks by itself waits for all it asks; one that a graph asks through, for any."""
    thread = Thread()
    thread.add(Commit(delta={}, due=[DueTask("a"), DueTask("b")]))
    asks = tuple(Ask(str(n) * 32, b'"?"') for n in (1, 2, 3, 4))
    called(thread, 0)
    thread.add(TaskResults([Outcome(0, asks=asks[:2]), Outcome(1, asks=asks[2:])]))
    assert thread.live.runnable() == []
    thread.add(Answers({asks[0].id: b"1", asks[2].id: b"1"}))
    assert thread.live.runnable() == [0]


def test_a_graph_that_goes_on_takes_its_questions_back() -> None:
    """The tasks around it do not ask any more what it does not ask, and the answer is used up."""
    thread = Thread()
    thread.add(Commit(delta={}, due=[DueTask("a")]))
    ns, asks = called(thread), (Ask("1" * 32, b'"?"'), Ask("2" * 32, b'"?"'))
    thread.add(Commit(delta={}, due=[DueTask("x"), DueTask("y")]), ns)
    thread.add(TaskResults([Outcome(n, asks=asks[n : n + 1]) for n in (0, 1)]), ns)
    thread.add(TaskResults([Outcome(0, asks=asks)]))
    thread.add(Answers({asks[0].id: b"1"}))
    thread.add(Commit(delta={}, due=[DueTask("z"), DueTask("y", carried=1)]), ns)
    assert thread.live.outcomes[0].asks == asks[1:]
    assert thread.live.answers == {}
    thread.add(Commit(delta={}, due=[DueTask("z")]), ns)
    assert thread.live.outcomes == {}
    assert form(thread.fold(thread.head.path)) == form(thread.live)  # type: ignore[union-attr]


def test_what_a_task_has_called_is_found_by_the_task_and_goes_with_it() -> None:
    """However deep; what keeps its state is found, too, and stays."""
    root = Scope()
    called = {"a:1": "1", "a:1|1": "1", "a:1|b:2": "2", "a:3": "3", "kept": "1"}
    for ns, task in called.items():
        root.within(ns).caller = Caller(task, "g", "")
    assert [scope.ns for scope in root.nested.called("1")] == ["a:1", "kept", "a:1|1"]
    assert [scope.ns for scope in root.nested.called("2")] == ["a:1|b:2"]
    assert root.nested.calling("") == ["1", "3"]
    root.nested.end("1")
    assert list(root.nested) == ["a:3", "kept"]
    assert root.nested.calling("") == ["3"]
    assert not root.nested.called("2")
    root.nested.remove("a:3")
    root.nested.remove("a:3")
    assert list(root.nested) == ["kept"]
    assert not root.nested.calling("")
