"""The parity table: every row says what is the case, and names a test that exists."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from tests.examples.documents import ROOT

TABLE = (ROOT / "docs" / "PARITY.md").read_text(encoding="utf-8")
PARTS = re.split(r"^## ", TABLE, flags=re.MULTILINE)[1:]
THERE = ("same", "better")

# Whatever has the name of a class, a function, an argument or a key: what users may look for.
NAMES = """
    Annotated Required NotRequired TypedDict input_schema destinations metadata
    path_map add_sequence compile validate add_messages RemoveMessage REMOVE_ALL_MESSAGES
    MessagesState push_message ainvoke astream abatch with_config copy aget_subgraphs aclear_cache
    thread_id recursion_limit max_concurrency run_id callbacks durability output_keys print_mode
    aget_state aget_state_history aupdate_state abulk_update_state get_graph values updates custom
    messages tasks checkpoints debug tools nostream version Send Command goto Command.PARENT
    Overwrite get_config get_runtime get_stream_writer get_store context_schema heartbeat
    execution_info server_info IsLastStep RemainingSteps GraphCallbackHandler interrupt
    response_schema is_invalid_resume UnknownInterruptError @task @entrypoint entrypoint.final
    previous RetryPolicy TimeoutPolicy idle_timeout step_timeout CachePolicy ttl error_handler
    NodeError defer set_node_defaults CancelledError RunControl drain_requested checkpoint_ns
    subgraphs LastValue AnyValue EphemeralValue Topic BinaryOperatorAggregate UntrackedValue
    BaseStore aput asearch alist_namespaces query refresh_ttl TTLConfig sweep_ttl
    DeltaChannel NamedBarrierValue BaseChannel Pregel NodeBuilder trace_policy StreamTransformer
"""


def _rows(part: str) -> list[list[str]]:
    return [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in part.splitlines()
        if line.startswith("| ") and not line.startswith("| LangGraph")
    ]


SECTIONS = {part.partition("\n")[0]: _rows(part) for part in PARTS}
ROWS = [row for rows in SECTIONS.values() for row in rows]


@pytest.fixture(scope="module")
def tests() -> set[str]:
    """The names of all tests there are."""
    files = (ROOT / "tests").rglob("test_*.py")
    texts = [file.read_text(encoding="utf-8") for file in files]
    return {name for text in texts for name in re.findall(r"def (test_\w+)\(", text)}


def test_every_row_says_what_is_the_case() -> None:
    """Four cells: a feature; same, better, not, or not yet; how or why; a test."""
    for name, rows in SECTIONS.items():
        assert max(Counter(feature for feature, *_ in rows).values()) == 1, name
    for row in ROWS:
        assert len(row) == 4, row
        feature, verdict, reason, _ = row
        assert feature
        assert verdict in (*THERE, "not", "not yet"), row
        assert reason or verdict == "same", row


def test_every_row_that_is_there_names_a_test(tests: set[str]) -> None:
    """One that exists: it shows what the row claims."""
    for feature, verdict, _, test in ROWS:
        if verdict in THERE:
            assert re.fullmatch(r"`test_\w+`", test), feature
        if test:
            assert test.strip("`") in tests, feature


@pytest.mark.parametrize(
    ("section", "at_least"),
    [
        ("States", 27),
        ("Nodes", 23),
        ("Edges and compiling", 32),
        ("Messages", 14),
        ("Calls", 38),
        ("Streams", 30),
        ("Supersteps", 12),
        ("Commands", 10),
        ("Runtime", 9),
        ("Stores", 14),
        ("Questions", 20),
        ("Functions", 15),
        ("Policies", 18),
        ("Ends of runs", 6),
        ("Graphs within graphs", 10),
        ("Kinds of keys", 9),
        ("Bugs reproduced in LangGraph 1.2", 13),
    ],
)
def test_no_part_of_langgraph_is_left_out(section: str, at_least: int) -> None:
    """Building, running, and what goes wrong there: each has its section, and not just a few
    rows."""
    assert len(SECTIONS[section]) >= at_least


@pytest.mark.parametrize("name", NAMES.split())
def test_every_name_that_users_know_is_in_a_row(name: str) -> None:
    """As a feature of LangGraph's, whatever has become of it here."""
    pattern = re.compile(rf"(?<!\w){re.escape(name)}(?!\w)")
    assert any(pattern.search(feature) for feature, *_ in ROWS)


def test_every_bug_has_its_row_and_its_test() -> None:
    """B1 to B13, in order; each names the test that is named after it."""
    rows = SECTIONS["Bugs reproduced in LangGraph 1.2"]
    numbers = [feature.partition(":")[0] for feature, *_ in rows]
    assert numbers == [f"B{number}" for number in range(1, 14)]
    for number, (_, verdict, _, test) in zip(numbers, rows, strict=True):
        assert verdict == "better"
        assert test.startswith(f"`test_{number.lower()}_")


def test_nothing_is_left_to_come() -> None:
    """Everything has been decided."""
    assert [feature for feature, verdict, *_ in ROWS if verdict == "not yet"] == []
