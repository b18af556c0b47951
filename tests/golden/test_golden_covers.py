"""The corpus holds everything that can be stored: what is new in the code must be in it, too."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.golden.corpus import folder_of, records_file, states_file, unpack
from tests.golden.covered import held, known
from tests.golden.stored import to_things
from tests.golden.stories import STORIES

KNOWN = known()


@pytest.fixture(scope="module")
def found() -> dict[str, set[str]]:
    """What the corpus of the present format holds, all in all."""
    total: dict[str, set[str]] = {name: set() for name in KNOWN}
    for story in STORIES:
        text = records_file(folder_of(), story.thread).read_text(encoding="utf-8")
        for name, some in held(to_things(text)).items():
            total[name] |= some
    return total


@pytest.mark.parametrize("what", list(KNOWN))
def test_everything_is_in_the_corpus(what: str, found: dict[str, set[str]]) -> None:
    """Each kind of record, operation, tag, field and mark stands in at least one thread."""
    assert KNOWN[what], f"Nothing was found in the code for {what!r}."
    missing = KNOWN[what] - found[what]
    assert missing == set(), (
        f"No stored thread has this {what}: {sorted(missing)}. Add a story that has it to "
        f"tests/golden/stories_of_*.py, and write the corpus with "
        f"`python -m tests.golden.write --overwrite`."
    )


@pytest.mark.parametrize("what", list(KNOWN))
def test_nothing_else_is_in_the_corpus(what: str, found: dict[str, set[str]]) -> None:
    """What the corpus holds is known to the code: the list above is found where it should be."""
    assert found[what] - KNOWN[what] == set()


def test_the_operations_are_those_of_the_format() -> None:
    """So that the look into the code does not come to see less than there is."""
    assert KNOWN["op"] == KNOWN["op that is read"] == {*"=+~mwa-", ""}
    assert KNOWN["mark"] == {"asking", "failed", "resumed", "stopped", "taken over"}
    assert KNOWN["reason"] == {
        *("None", "ValueError", "breakpoint", "cancelled", "drained", "edited"),
        *("recursion limit", "storage"),
    }


def test_every_thread_comes_to_its_end() -> None:
    """A thread that had not finished goes on in its story, and does finish."""
    for story in STORIES:
        text = states_file(folder_of(), story.thread).read_text(encoding="utf-8")
        before, _, after = text.partition("= gone on with\n")
        finished = before.startswith("status finished\n")
        assert finished == (story.end is None), story.thread
        assert finished or "\nstatus finished\n" in after, story.thread


def test_every_table_of_the_file_has_rows(tmp_path: Path) -> None:
    """And so has every column, but for the tenant, which nothing sets so far."""
    with closing(sqlite3.connect(unpack(folder_of(), tmp_path))) as db:
        tables = [row[0] for row in db.execute("SELECT name FROM sqlite_schema WHERE sql > ''")]
        assert {"threads", "records", "blobs", "messages", "processes"} <= set(tables)
        for table in ("threads", "records", "blobs", "messages", "processes"):
            columns = [row[1] for row in db.execute(f"PRAGMA table_info({table})")]
            for column in columns:
                query = f"SELECT count(*) FROM {table} WHERE {column} IS NOT NULL"
                assert db.execute(query).fetchone()[0] > 0, f"{table}.{column}"
        pruned = db.execute("SELECT count(*) FROM records WHERE body IS NULL").fetchone()
        assert pruned[0] > 0
