"""The parity table: every row says what is the case, and names a test that exists."""

from __future__ import annotations

import re

import pytest

from tests.examples.documents import ROOT

TABLE = (ROOT / "docs" / "PARITY.md").read_text(encoding="utf-8")
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in TABLE.splitlines()
    if line.startswith("| ") and not line.startswith("| LangGraph")
]
THERE = ("same", "better")


@pytest.fixture(scope="module")
def tests() -> set[str]:
    """The names of all tests there are."""
    files = (ROOT / "tests").rglob("test_*.py")
    texts = [file.read_text(encoding="utf-8") for file in files]
    return {name for text in texts for name in re.findall(r"def (test_\w+)\(", text)}


def test_every_row_says_what_is_the_case() -> None:
    """Four cells: a feature; same, better, not, or not yet; how or why; a test."""
    assert len(ROWS) > 60
    assert len({feature for feature, *_ in ROWS}) == len(ROWS)
    for row in ROWS:
        assert len(row) == 4, row
        feature, verdict, reason, _ = row
        assert feature
        assert verdict in (*THERE, "not", "not yet"), row
        assert reason or verdict not in ("better", "not"), row


def test_every_row_that_is_there_names_a_test(tests: set[str]) -> None:
    """One that exists: it shows what the row claims."""
    for feature, verdict, _, test in ROWS:
        if verdict in THERE:
            assert re.fullmatch(r"`test_\w+`", test), feature
        if test:
            assert test.strip("`") in tests, feature
