"""Arbitrary bodies of records, and threads sealed from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import orjson
from hypothesis import strategies as st

from durable_graph.log.records import (
    Answer,
    Answers,
    Ask,
    Body,
    Caller,
    Commit,
    DueTask,
    Head,
    Kept,
    KeptDue,
    Mark,
    Outcome,
    Packet,
    Record,
    Step,
    Steps,
    TaskResults,
    ThreadKey,
)
from durable_graph.log.seal import CommitInfo, Draft, seal
from durable_graph.types import TimeoutPolicy

__all__ = ["KEY", "SECRET", "bodies", "draft", "info", "sealed"]

KEY = ThreadKey("", "the thread")
SECRET = b"0123456789abcdef"

names = st.text(max_size=8)
texts = st.text(max_size=12)
items: st.SearchStrategy[Any] = st.one_of(
    st.integers(-9, 9), texts, st.floats(allow_nan=False, allow_infinity=False)
)
arrays = st.lists(items, max_size=3).map(orjson.dumps)
encoded = st.one_of(
    arrays, items.map(orjson.dumps), st.dictionaries(texts, items, max_size=3).map(orjson.dumps)
)
counts = st.integers(0, 9)
ops: st.SearchStrategy[tuple[Any, ...]] = st.one_of(
    st.tuples(st.just("="), encoded),
    st.tuples(st.just("+"), arrays),
    st.tuples(st.just("~"), counts, counts, arrays),
    st.tuples(
        st.just("m"),
        st.dictionaries(names, encoded, max_size=3),
        st.lists(names, max_size=3).map(tuple),
    ),
    st.tuples(st.just("w"), counts),
    st.lists(counts, max_size=3).map(lambda tasks: ("a", *tasks)),
    st.sampled_from([("",), ("-",)]),
)
written = st.one_of(encoded, ops)
seconds = st.none() | st.floats(1e-3, 1e6)
limits = st.none() | st.builds(
    TimeoutPolicy, seconds, seconds, st.sampled_from(["auto", "heartbeat"])
)
packets = st.lists(st.builds(Packet, names, encoded, limits), max_size=3).map(tuple)
retries: st.SearchStrategy[dict[str, float]] = st.one_of(
    st.just({}),
    st.fixed_dictionaries({"retry_at": st.floats(0, 1e12), "retry_in": st.floats(0, 1e3)}),
)
asks = st.lists(
    st.builds(
        Ask,
        names,
        encoded,
        st.none() | encoded,
        st.none() | st.floats(0, 1e12),
        st.none() | encoded,
    ),
    max_size=3,
).map(tuple)
outcomes = st.builds(
    lambda retry, **more: Outcome(**more, **retry),
    retries,
    index=st.integers(-1, 9),
    writes=st.lists(st.dictionaries(names, written, max_size=3), max_size=2),
    goto=st.lists(names, max_size=3).map(tuple),
    sends=packets,
    asks=asks,
    error=st.none() | st.text(max_size=20),
    attempts=counts,
    caught=st.none() | st.text(max_size=20),
    cached=st.booleans(),
)
due_tasks = st.builds(DueTask, names, st.none() | encoded, st.none() | counts, limits)
by_name = st.dictionaries(names, encoded, max_size=3)
callers = st.none() | st.builds(Caller, names, names, names)
steps = st.builds(
    lambda stands, **more: Step(**more, **stands),
    st.one_of(
        st.fixed_dictionaries(
            {"state": st.just("done"), "value": encoded, "cached": st.booleans()}
        ),
        st.fixed_dictionaries({"state": st.just("claimed")}),
        st.fixed_dictionaries({"state": st.just("failed"), "error": st.text(max_size=20)}),
    ),
    index=counts,
    id=names,
    name=st.text(max_size=8),
    kind=st.sampled_from(["step", "task", "transaction"]),
    digest=names,
)
kept = st.builds(
    Kept,
    ns=names,
    checkpoint=names,
    parent=st.none() | names,
    branch=names,
    step=counts,
    source=st.sampled_from(["input", "loop", "update", "fork"]),
    time=st.floats(0, 1e12),
    meta=st.dictionaries(names, items, max_size=2),
    run=st.none() | names,
    graph=st.none() | names,
    nodes=st.lists(names, max_size=2).map(tuple),
    values=by_name,
    joins=st.dictionaries(names, st.lists(names, max_size=3).map(tuple), max_size=2),
    due=st.lists(
        st.builds(KeptDue, names, counts, names, st.none() | encoded, st.none() | counts, limits),
        max_size=2,
    ),
    outcomes=st.lists(outcomes, max_size=2),
    asked=st.dictionaries(counts, asks, max_size=2),
    answers=st.dictionaries(
        names, st.builds(Answer, st.none() | encoded, st.none() | names, st.floats(0, 1e12))
    ),
    caller=callers,
    steps=st.lists(steps, max_size=2).map(tuple),
)
commits = st.builds(
    lambda content, **more: Commit(**content, **more),
    st.one_of(
        st.fixed_dictionaries({"delta": st.dictionaries(names, ops, max_size=3)}),
        st.fixed_dictionaries({"values": by_name}),
    ),
    outcomes=st.lists(outcomes, max_size=2),
    joins=st.dictionaries(names, st.lists(names, max_size=3).map(tuple), max_size=2),
    due=st.lists(due_tasks, max_size=3),
    known=st.lists(outcomes, max_size=2),
    caller=callers,
    kept=st.lists(kept, max_size=2).map(tuple),
)
bodies: st.SearchStrategy[Body] = st.one_of(
    commits,
    st.builds(Steps, st.lists(steps, max_size=3)),
    st.builds(TaskResults, st.lists(outcomes, max_size=3)),
    st.builds(Answers, by_name, st.lists(names, max_size=2).map(tuple)),
    st.builds(Mark, st.text(max_size=9), st.none() | st.text(max_size=9)),
)
"""Any body, in the form in which it is read back."""


def info(name: str, **more: Any) -> CommitInfo:
    """The header of a commit."""
    plain = CommitInfo(name, None, "c0", 0, "loop", ("node",), {"k": 1}, "f" * 32)
    return replace(plain, **more)


def draft(body: Body, name: str = "c0", **more: Any) -> Draft:
    """A draft of a body; `name` is the checkpoint's id, if it is a commit."""
    commit = more.pop("commit", info(name)) if isinstance(body, Commit) else None
    return Draft(body, 12.5, "run", commit=commit, **more)


def sealed(
    drafts: Sequence[Draft], head: Head | None = None, **more: Any
) -> tuple[Head, tuple[Record, ...]]:
    """Drafts, given their places in the log."""
    defaults: dict[str, Any] = {
        "key": KEY,
        "secret": SECRET,
        "epoch": 1,
        "status": "running",
        "owner": "owner",
        "input": None,
        "reason": None,
        "now": 99.0,
    }
    return seal(head, drafts, **(defaults | more))
