"""Who did what, told from records: the turns that no engine of today makes as well."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from durable_graph.decisions.audit import AuditEntry, Story, telling
from durable_graph.decisions.cards import Act
from durable_graph.log.records import Answers, Body, Commit, DueTask, Head, Mark, TaskResults
from durable_graph.log.seal import Header
from tests.pure.bodies import KEY, SECRET, info

Told = list[tuple[str, str | None, str | None]]
GOES_ON = Commit(due=(DueTask("a"),))


def header(seq: int, kind: Any = "commit", run: str = "1", **more: Any) -> Header:
    ns, commit = more.pop("ns", ""), None
    by = more.pop("by", None)
    if kind == "commit":
        commit = info(f"c{seq}", parent=f"c{seq - 1}" if seq > 1 else None, **more)
    return Header(seq, kind, ns, float(seq), run, by, (), commit)


def head(**more: Any) -> Head:
    made = Head(
        *(KEY, 9, 1, b"", SECRET, "finished", None, None, "", 0, (), 0, 0, 0, None, None, 0, 9)
    )
    return replace(made, **more)


def tell(
    *records: tuple[Header, Body | None], acts: tuple[Act, ...] = (), **now: Any
) -> list[AuditEntry]:
    story = Story(acts)
    found = [entry for one, body in records for entry in story.tell(one, body)]
    return [*found, *story.close(head(**now))]


def short(entries: list[AuditEntry]) -> Told:
    return [(entry.what, entry.by, entry.detail) for entry in entries]


@pytest.mark.parametrize(
    ("event", "detail", "told"),
    [
        ("failed", "ValueError", [("ended", None, "failed: ValueError")]),
        ("stopped", None, [("ended", None, "stopped")]),
        ("key rotated", None, [("takeover", "ann", None)]),
    ],
)
def test_only_ends_are_ends(event: str, detail: str | None, told: Told) -> None:
    """A mark that is about something else says nothing about its run."""
    found = tell(
        (header(1, source="loop"), GOES_ON),
        (header(2, "mark"), Mark(event, detail)),
        (header(3, "mark", "2", by="ann"), Mark("resumed")),
    )
    assert short(found)[:-2] == told


def test_what_is_pruned_is_no_takeover() -> None:
    """How a run ended is not known then, and nothing is made up; a mark of one is still one."""
    before = (header(1, source="loop"), None)
    assert short(tell(before, (header(2, run="2", source="input"), Commit()))) == [
        ("input", None, None),
        ("ended", None, "finished"),
    ]
    assert short(tell(before, (header(2, "mark", "2"), Mark("taken over")))) == [
        ("takeover", None, None),
        ("ended", None, "finished"),
    ]


def test_a_run_that_is_under_way_has_no_end() -> None:
    """Also one whose process is dead, as long as nobody has taken it over."""
    assert short(tell((header(1, source="input"), GOES_ON), status="running")) == [
        ("input", None, None)
    ]


def test_what_follows_the_last_checkpoint_of_an_exit_run_is_part_of_it() -> None:
    """Its results come behind the commit that says it has finished."""
    found = tell(
        (header(1, source="loop"), Commit()),
        (header(2, "tasks"), TaskResults([])),
        (header(3, "answers", by="ann"), Answers({"q": b"1"})),
        (header(4, run="2", source="input"), Commit()),
    )
    assert short(found)[:2] == [("answer", "ann", "q"), ("ended", None, "finished")]


def test_an_update_that_is_followed_is_no_end() -> None:
    """It came with an answer, whose run was then cut off; alone it is an edit, which rests."""
    edit = (header(1, source="update", by="ann"), GOES_ON)
    answer = (header(2, "answers", by="ann"), Answers({"q": b"1"}))
    later = (header(3, run="2", source="input", by="bob"), GOES_ON)
    assert [e.what for e in tell(edit, later, status="running")] == ["edit", "input"]
    assert [e.what for e in tell(edit, answer, later, status="running")] == [
        "edit",
        "answer",
        "takeover",
        "input",
    ]


def test_deadlines_that_passed_are_told() -> None:
    """With the questions; an answer beside them is one of its own."""
    found = tell((header(1, "answers"), Answers({"a": b"1"}, ["b", "c"])), status="running")
    assert short(found) == [("answer", None, "a"), ("deadline", None, "b, c")]
    found = tell((header(1, "answers"), Answers({}, ["b"])), status="running")
    assert short(found) == [("deadline", None, "b")]


def test_branches_and_migrations_are_told() -> None:
    """A branch with where it began; a thread's first checkpoint is none."""
    first = (header(1, source="input", branch="c1"), GOES_ON)
    branch = (header(2, source="input", branch="c2"), GOES_ON)
    migrated = (header(3, source="migration"), GOES_ON)
    found = tell(first, branch, migrated, status="running")
    assert [(e.what, e.checkpoint_id) for e in found] == [
        ("input", "c1"),
        ("fork", "c1"),
        ("input", "c2"),
        ("migration", "c3"),
    ]


def test_acts_come_in_where_they_were_done() -> None:
    """By time; what is latest last, and all of them although the log is shorter."""
    acts = (Act("created", 0.5, "ann"), Act("changed", 1.5, "bob", "x"), Act("pruned", 99.0))
    found = tell((header(1, source="input"), GOES_ON), (header(2, "tasks"), None), acts=acts)
    assert short(found) == [
        ("created", "ann", None),
        ("input", None, None),
        ("changed", "bob", "x"),
        ("ended", None, "finished"),
        ("pruned", None, None),
    ]
    assert [e.what for e in [*Story(acts).close(None)]] == ["created", "changed", "pruned"]


def test_few_bodies_are_needed() -> None:
    """Marks, answers, and of each run its last checkpoint of the root graph."""
    headers = [
        header(1),
        header(2),
        header(3, ns="x"),
        header(4, "tasks"),
        header(5, "mark"),
        header(6, "answers", "2"),
        header(7, run="2"),
        header(8, "steps", "2"),
    ]
    assert telling(headers) == [2, 5, 6, 7]
    assert telling([]) == []
