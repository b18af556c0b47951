"""The commit that closes a superstep."""

from __future__ import annotations

from durable_graph.decisions.advance import advance
from durable_graph.decisions.plan import Plan
from durable_graph.log.delta import Encoded, Op, Rope
from durable_graph.log.fold import Scope
from durable_graph.log.records import Commit, DueTask, Outcome

PLAN = Plan([DueTask("n"), DueTask("w", b"1")], {"a+b:c": ("a",)})
RIDERS = [Outcome(0, [{"k": b"[2]"}])]
DELTA: dict[str, Op] = {"k": ("a", 0), "gone": ("-",)}
AFTER: dict[str, Encoded | None] = {"k": Rope.of(b"[1]").append(b"[2]"), "gone": None}


def scope() -> Scope:
    return Scope(values={"k": Rope.of(b"[1]"), "gone": b"1", "kept": b"7"})


def test_a_commit_states_what_changed() -> None:
    """It holds the operations, the results that have no other record, and what is due."""
    commit = advance(DELTA, AFTER, scope(), PLAN, RIDERS, snapshot=False)
    assert commit == Commit(RIDERS, DELTA, None, PLAN.joins, PLAN.due)


def test_a_snapshot_states_what_is() -> None:
    """It holds every value as it is now, flat, and no operation; what has none is left out."""
    commit = advance(DELTA, AFTER, scope(), PLAN, RIDERS, snapshot=True)
    values = {"k": b"[1,2]", "kept": b"7"}
    assert commit == Commit(RIDERS, None, values, PLAN.joins, PLAN.due)


def test_the_state_before_is_not_changed() -> None:
    """Closing a superstep decides; the scope moves on by itself."""
    before = scope()
    for snapshot in (True, False):
        advance(DELTA, AFTER, before, PLAN, RIDERS, snapshot=snapshot)
    assert repr({k: v for k, v in before.values.items() if k != "k"}) == repr(
        {k: v for k, v in scope().values.items() if k != "k"}
    )
    assert isinstance(before.values["k"], Rope)
    assert before.values["k"].flat() == b"[1]"
