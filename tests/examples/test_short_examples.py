"""Every short example runs as it is, and prints what it is there to show."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.examples.conftest import EXAMPLES, Run

MODES = ("values", "updates", "messages", "tasks", "checkpoints", "custom", "debug")


def test_a_crash_is_resumed_at_the_node_that_was_cut_off(run: Run) -> None:
    """Killed while sending; run again, it sends what was written, and does not write again."""
    crashed = run("crash_and_resume.py", CRASH="1")
    assert (crashed.returncode, crashed.stdout) == (-9, "writing\n")
    resumed = run("crash_and_resume.py")
    assert (resumed.returncode, resumed.stdout) == (0, "sending: Dear world\n")
    assert run("crash_and_resume.py").stdout == "writing\nsending: Dear world\n"


@pytest.mark.parametrize(
    ("where", "before", "after"),
    [
        ("charging", [], ["charging Ada"]),
        ("charged", ["charging Ada"], ["had been charged"]),
        ("stored", ["charging Ada"], []),
        ("sending", ["charging Ada"], []),
    ],
)
def test_steps_happen_once_wherever_the_process_dies(
    run: Run, tmp_path: Path, where: str, before: list[str], after: list[str]
) -> None:
    """Killed around a charge, a row and a letter; run again, each is there once."""
    crashed = run("durable_steps.py", CRASH=where)
    assert (crashed.returncode, crashed.stdout.splitlines()) == (-9, before)
    resumed = run("durable_steps.py")
    assert resumed.returncode == 0, resumed.stderr
    assert resumed.stdout.splitlines() == [
        *after,
        "sending order 1: 5 from Ada",
        "{'customer': 'Ada', 'amount': 5, 'number': 1}",
    ]
    assert (tmp_path / "bank.txt").read_text(encoding="utf-8") == "Ada 5\n"
    with closing(sqlite3.connect(tmp_path / "shop.db")) as db:
        assert db.execute("SELECT number, customer FROM orders").fetchall() == [(1, "Ada")]


def test_every_stream_mode_is_shown(run: Run) -> None:
    """A section for each mode, each with events, and one for two modes at once."""
    ended = run("stream_events.py")
    assert ended.returncode == 0, ended.stderr
    sections = {}
    for section in ended.stdout.strip().split("\n\n"):
        title, *events = section.splitlines()
        sections[title] = [event.strip() for event in events]
    assert tuple(sections) == (*MODES, "several at once")
    assert all(sections.values())
    assert sections["updates"] == [
        "{'write': {'lines': ['O log,', 'how durable thou art!']}}",
        "{'name': {'title': 'To Log'}}",
    ]
    assert sections["messages"] == ["'O '", "'log, '", "'how '", "'durable '", "'thou '", "'art! '"]
    assert sections["custom"] == ["{'line': 1, 'of': 2}", "{'line': 2, 'of': 2}"]
    assert [event.split(":")[0] for event in sections["several at once"]] == [
        "custom",
        "custom",
        "updates",
        "updates",
    ]


def test_a_question_waits_for_its_answer(run: Run) -> None:
    """The run stops and asks; through another saver on the same file, an answer ends it."""
    ended = run("human_in_the_loop.py")
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.splitlines() == [
        "asked: Refund 250 to Ada? yes, no, or an amount",
        "waits: check",
        "{'customer': 'Ada', 'amount': 200, 'paid': 200}",
    ]


def test_an_approval_comes_from_another_process(run: Run) -> None:
    """One process asks and ends; others look, answer wrongly, answer, and read the record."""
    assert "approval.py ask 250" in run("approval.py").stdout  # how it is used
    asked = run("approval.py", "ask", 250)
    assert asked.returncode == 0, asked.stderr
    assert asked.stdout.startswith("asked: {'pay': 250, 'to': 'ACME'} until 20")
    assert run("approval.py", "show").stdout == asked.stdout
    assert "refused: The answer does not fit" in run("approval.py", "answer", "bob", "maybe").stdout
    answered = run("approval.py", "answer", "ann", "yes")
    assert answered.stdout == "{'to': 'ACME', 'amount': 250, 'outcome': 'paid'}\n", answered.stderr
    record = run("approval.py", "record").stdout
    assert record.startswith("{'pay': 250, 'to': 'ACME'}: {'approved': True} by ann on 20")
    assert run("approval.py", "late").stdout == answered.stdout


def test_an_approval_that_nobody_gives(run: Run) -> None:
    """The time is over at once: what holds then is on record as the deadline's answer."""
    asked = run("approval.py", "ask", 250, 0)
    assert (asked.returncode, asked.stdout) == (0, ""), asked.stderr
    record = run("approval.py", "record").stdout
    assert "{'approved': False, 'reason': 'nobody answered'} by deadline on 20" in record


def test_a_new_version_meets_a_thread_of_the_old_one(run: Run) -> None:
    """Refused by what it lacks, then migrated; each time anew, also where other examples ran."""
    assert run("crash_and_resume.py").returncode == 0
    assert run("new_version.py").returncode == 0
    ended = run("new_version.py")
    assert ended.returncode == 0, ended.stderr
    refused, waits, sent = ended.stdout.splitlines()
    assert "node 'draft' is due, and the graph has no such node; key 'to' has a" in refused
    assert waits == "waits: ('write',) {'to': ['Ada']}"
    assert sent == "sending to Ada : Dear Ada"


def test_a_chat_remembers_on_its_own_thread_only(run: Run) -> None:
    """Monday knows the name that Monday was told; each answer is shown once."""
    ended = run("chat_thread.py")
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.splitlines() == [
        "monday > My name is Ada.",
        "monday < I will remember that.",
        "monday > What is my name?",
        "monday < You are Ada.",
        "tuesday > What is my name?",
        "tuesday < You have not told me yet.",
        "monday: 4 messages",
    ]


def test_time_travel_runs_only_what_follows(run: Run) -> None:
    """One joke is told, three explanations are given, and the first branch stays."""
    ended = run("time_travel.py")
    assert ended.returncode == 0, ended.stderr
    lines = [line.strip() for line in ended.stdout.splitlines()]
    assert lines.count("telling") == 1
    assert lines.count("explaining") == 3
    assert lines[-4] == "Why did the samosa cross the road? To get to the other side."
    assert lines[-1] == "Why did the pizza cross the road? To get to the other side."


def test_graphs_within_a_graph_go_on_where_they_were(run: Run) -> None:
    """The draft is written once, though its question is answered later; all checks are made."""
    ended = run("subgraphs.py")
    assert ended.returncode == 0, ended.stderr
    lines = [line.strip() for line in ended.stdout.splitlines()]
    assert lines.count("writing") == 1
    assert "next: ('draft',) and within: ('approve',)" in lines
    assert [line for line in lines if line.startswith("ended")] == [
        "ended: draft > approve",
        "ended: draft",
        *["ended: review > check"] * 3,
        "ended: review",
    ]
    assert lines[-1].endswith("'notes': ['dull', 'dull', 'fine']}")


def test_a_fan_out_gathers_in_order_and_is_not_done_twice(run: Run) -> None:
    """200 results in the order of their items; a second call finds them done."""
    expected = "200 digests, the first f5201cf5, the last fcdd5f4b"
    for _ in range(2):
        ended = run("fan_out.py")
        assert ended.returncode == 0, ended.stderr
        assert ended.stdout.splitlines()[-1] == expected


def test_a_graph_draws_itself(run: Run, tmp_path: Path) -> None:
    """Mermaid and boxes are printed, three pictures are written."""
    ended = run("drawing.py")
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.startswith("graph TD;\n")
    assert '\tcheck -.->|"yes"| send;\n' in ended.stdout
    assert "interrupt before │" in ended.stdout
    for name in ("support.png", "support_by_mermaid.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")
    assert "triage" in (tmp_path / "support.svg").read_text(encoding="utf-8")


@pytest.mark.parametrize("script", sorted(path.name for path in EXAMPLES.glob("*.py")))
def test_an_example_says_what_it_is_about(script: str) -> None:
    """Every script begins with a docstring of one sentence or more."""
    first = (EXAMPLES / script).read_text(encoding="utf-8").splitlines()[0]
    assert first.startswith('"""')
    assert len(first) > 20
