"""The engine writes what it wrote, to the byte, until the format is raised."""

from __future__ import annotations

import difflib
import itertools
import os
import subprocess
import sys
from pathlib import Path

import pytest

from durable_graph.log.records import FORMAT
from tests.golden.corpus import HERE, folder_of, records_file, states_file, unpack
from tests.golden.stored import threads_of
from tests.golden.stories import STORIES
from tests.golden.write import main

_WHAT_TO_DO = f"""
If this was not meant to be, mend the code: threads of format {FORMAT} are out there.
If it was, see `tests/golden/write.py`. In short: if old records are still read, and the same
words only come at another moment, write the corpus anew with
    python -m tests.golden.write --overwrite
and look at the difference. If the words have changed, raise FORMAT in
durable_graph/log/records.py to {FORMAT + 1}, go on reading format {FORMAT}, and add the folder
tests/golden/format_{FORMAT + 1} with
    python -m tests.golden.write
The folder tests/golden/format_{FORMAT} stays as it is then."""

THREADS = [story.thread for story in STORIES]


def test_the_present_format_has_its_corpus() -> None:
    """Whoever raises the format adds a folder."""
    assert folder_of().is_dir(), (
        f"FORMAT is {FORMAT}, and {folder_of().name} is missing: add it with "
        f"`python -m tests.golden.write`, and leave the folders of earlier formats as they are."
    )


@pytest.mark.parametrize("thread", THREADS)
def test_a_thread_is_stored_as_it_was(thread: str, rewritten: Path) -> None:
    """Head, records, large values and messages come out byte for byte the same."""
    _expect_same(records_file(folder_of(), thread), records_file(rewritten, thread))


@pytest.mark.parametrize("thread", THREADS)
def test_a_new_thread_reads_as_the_stored_one(thread: str, rewritten: Path) -> None:
    """What is written today reads like what was written then."""
    _expect_same(states_file(folder_of(), thread), states_file(rewritten, thread))


def test_a_new_file_holds_the_same_rows(rewritten: Path, tmp_path: Path) -> None:
    """The SQLite files hold the same threads, row for row."""
    then, now = tmp_path / "then", tmp_path / "now"
    then.mkdir()
    now.mkdir()
    stored, written = threads_of(unpack(folder_of(), then)), threads_of(unpack(rewritten, now))
    changed = {thread for thread in stored if stored[thread] != written.get(thread)}
    assert written.keys() == stored.keys()
    assert changed == set(), _WHAT_TO_DO


def test_the_corpus_is_the_same_in_every_process(rewritten: Path, tmp_path: Path) -> None:
    """Neither hash seeds nor the moment play a part in it."""
    into = tmp_path / "again"
    command = [sys.executable, "-m", "tests.golden.write", "--into", str(into)]
    environment = {"PYTHONHASHSEED": "1", "TZ": "Asia/Tokyo", "LC_ALL": "C"}
    environment["PYTHONPATH"] = os.pathsep.join(sys.path)  # the very code that is tested here
    subprocess.run(command, check=True, cwd=HERE.parents[1], env=environment, timeout=50)
    for path in sorted(rewritten.glob("*.txt")):
        assert (into / path.name).read_bytes() == path.read_bytes()


def test_a_corpus_is_not_overwritten_by_accident(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without being told to, the command leaves what is there, and says what to do."""
    into = tmp_path / "format_1"
    into.mkdir()
    (into / "kept").touch()
    assert main(["--into", str(into)]) == 1
    assert "--overwrite" in capsys.readouterr().err
    assert [path.name for path in into.iterdir()] == ["kept"]


def test_a_corpus_is_overwritten_on_purpose(tmp_path: Path) -> None:
    """When told to, it leaves nothing of what was there."""
    into = tmp_path / "format_1"
    into.mkdir()
    (into / "lost").touch()
    assert main(["--into", str(into), "--overwrite"]) == 0
    assert {path.name for path in into.iterdir()} == {path.name for path in folder_of().iterdir()}


def _expect_same(then: Path, now: Path) -> None:
    assert then.exists(), f"{then} is missing.\n{_WHAT_TO_DO}"
    before, after = (path.read_text(encoding="utf-8").split("\n") for path in (then, now))
    if before != after:
        changes = difflib.unified_diff(before, after, "as it was", "as it is now", "", "", 1, "")
        shown = "\n".join(line[:300] for line in itertools.islice(changes, 30))
        raise AssertionError(f"{then.name} would be written differently:\n{shown}\n{_WHAT_TO_DO}")
