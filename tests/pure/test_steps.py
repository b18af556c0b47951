"""Steps within tasks: which is which, what a recorded one means, and how they are folded."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from durable_graph.decisions.steps import Move, move, step_id
from durable_graph.engine.storage.runlog import _joined
from durable_graph.log.fold import Scope
from durable_graph.log.records import Commit, DueTask, Mark, Outcome, Step, Steps, TaskResults
from durable_graph.log.seal import Draft, open_record
from tests.pure.bodies import SECRET, draft, info, sealed

CLAIMED = Step(0, "id", "charge", "step", "digest", "claimed")
DONE = replace(CLAIMED, state="done", value=b"1")
FAILED = replace(CLAIMED, state="failed", error="ValueError: no")


@pytest.mark.parametrize(
    ("recorded", "digest", "idempotent", "expected"),
    [
        (None, "digest", False, "claim"),
        (None, "digest", True, "run"),
        (CLAIMED, "digest", False, "reconcile"),
        (CLAIMED, "digest", True, "run"),
        (CLAIMED, "other", False, "mismatch"),
        (CLAIMED, "other", True, "mismatch"),
        (DONE, "digest", False, "return"),
        (DONE, "digest", True, "return"),
        (DONE, "other", False, "mismatch"),
        (FAILED, "digest", False, "claim"),
        (FAILED, "other", False, "claim"),
        (FAILED, "other", True, "run"),
    ],
)
def test_what_a_call_comes_to(
    recorded: Step | None, digest: str, idempotent: bool, expected: Move
) -> None:
    """Every combination of what is on record, the arguments, and whether twice does no harm."""
    assert move(recorded, digest, idempotent=idempotent) == expected


def test_the_id_of_a_step_is_the_same_for_ever() -> None:
    """Ids of steps are keys in logs and in outside systems: no release may compute others."""
    assert step_id("", "step", "charge") == "5dc5849a1d0c4081a1815f883620164b"
    assert step_id("w", "task", "fetch", "d", 2) == "fd4c2a3b0c03b36ab33f090f15f903cd"


def test_different_steps_have_different_ids() -> None:
    """What calls it, its kind, name, arguments and number all tell steps apart."""
    ids = {
        step_id(*parts)
        for parts in itertools.product(("", "w"), ("step", "task"), ("a", "b"), ("", "d"), (0, 1))
    }
    assert len(ids) == 32


def test_the_last_entry_of_a_step_counts() -> None:
    """A claim gives way to a result, and a failed try to the next claim."""
    scope = Scope()
    scope.take_steps([CLAIMED, FAILED, CLAIMED])
    assert scope.steps == {0: {"id": CLAIMED}}
    scope.take_steps([DONE])
    assert scope.steps == {0: {"id": DONE}}


def test_steps_are_folded_after_their_commit() -> None:
    """They are on the path of the present state, so reading finds them."""
    due = Commit(delta={}, due=[DueTask("n")])
    head, records = sealed([draft(due), draft(Steps([CLAIMED])), draft(Steps([DONE]))])
    assert head.path == ((1, 3),)
    scope = Scope()
    for record in records:
        scope.apply(*open_record(record, SECRET, "thread"))
    assert scope.steps == {0: {"id": DONE}}
    assert scope.path == head.path


def test_a_commit_ends_the_steps_of_its_tasks() -> None:
    """What is due next has steps of its own; a task that is carried on keeps what it has."""
    scope = Scope()
    scope.commit(Commit(delta={}, due=[DueTask("a"), DueTask("b")]), info("c0"), 1.0, "run")
    scope.take_steps([replace(DONE, index=0), replace(CLAIMED, index=1)])
    scope.commit(Commit(delta={}, due=[DueTask("c"), DueTask("b", carried=1)]), info("c1"), 1.0, "")
    assert scope.steps == {1: {"id": replace(CLAIMED, index=1)}}
    scope.commit(Commit(delta={}, due=[DueTask("b", carried=1)]), info("c2"), 1.0, "run")
    assert scope.steps == {0: {"id": replace(CLAIMED, index=0)}}
    scope.commit(Commit(delta={}, due=[DueTask("b")]), info("c3"), 1.0, "run")
    assert scope.steps == {}


def test_a_graph_within_keeps_its_steps_in_a_snapshot() -> None:
    """They belong to that graph's tasks, and are there when reading begins with the snapshot; a
    branch's tasks are others, and have done nothing yet."""
    thread = Scope()
    due = Commit(delta={}, due=[DueTask("n")])
    thread.commit(due, info("c0"), 1.0, "run")
    within = thread.within("n:1")
    within.commit(due, info("c1"), 1.0, "run")
    within.take_steps([DONE, replace(CLAIMED, id="other")])
    assert thread.steps == {}
    snapshot = Commit(values={})
    thread.complete(snapshot)
    _, records = sealed([draft(snapshot)])
    read = Scope()
    read.apply(*open_record(records[0], SECRET, "thread"))
    assert read.within("n:1").steps == within.steps
    assert read.size() > within.size() == 1  # what a graph within is costs something, too
    assert within.kept({"1": "2"}, "branch").steps == ()


def test_steps_of_a_graph_within_go_to_that_graph() -> None:
    """By the namespace in the record's header."""
    due = Commit(delta={}, due=[DueTask("n")])
    _, records = sealed([draft(due), draft(due, "c1", ns="n:1"), draft(Steps([DONE]), ns="n:1")])
    scope = Scope()
    for record in records:
        scope.apply(*open_record(record, SECRET, "thread"))
    assert (scope.steps, scope.within("n:1").steps) == ({}, {0: {"id": DONE}})


def test_a_copied_scope_has_steps_of_its_own() -> None:
    """What happens to the one is not seen in the other."""
    scope = Scope()
    scope.take_steps([CLAIMED])
    other = scope.copy()
    other.take_steps([DONE])
    assert (scope.steps, other.steps) == ({0: {"id": CLAIMED}}, {0: {"id": DONE}})


def test_large_results_of_steps_are_kept() -> None:
    """A result that is stored by content belongs to what the position refers to."""
    digest = "a" * 64
    scope = Scope()
    scope.take_steps([replace(DONE, value=b'{"~blob":"%b"}' % digest.encode())])
    assert scope.blobs() == {digest}


def test_steps_that_wait_together_are_one_record() -> None:
    """So a hundred steps at once cost one record a flush; what lies between keeps them apart."""
    before = Draft(Steps([CLAIMED]), 1.0, "run")
    assert _joined(before, Steps([DONE, FAILED]), "") == 1
    assert _joined(before, Steps([DONE]), "n:1") == 0
    assert _joined(before, TaskResults([Outcome(0)]), "") == 0
    assert before.body == Steps([CLAIMED, DONE, FAILED])
    assert _joined(Draft(Mark("asking"), 1.0, "run"), Steps([DONE]), "") == 0
    results = Draft(TaskResults([Outcome(0)]), 1.0, "run")
    assert _joined(results, TaskResults([Outcome(1)]), "") == 1
    assert results.body == TaskResults([Outcome(0), Outcome(1)])
