"""What make runs: the tests that need no server, or all of them."""

from __future__ import annotations

import re
import subprocess

from tests.examples.documents import ROOT, text_of


def commands(target: str) -> list[str]:
    """What make would run for a target."""
    shown = subprocess.run(
        ["make", "-n", target], cwd=ROOT, check=True, capture_output=True, text=True
    )
    return shown.stdout.splitlines()


def pytest_of(target: str) -> list[str]:
    """The arguments of the one pytest that a target runs."""
    (line,) = [line for line in commands(target) if "-m pytest" in line]
    return re.findall(r'"[^"]+"|\S+', line.partition("-m pytest ")[2])


def test_the_tests_without_servers_are_all_but_those_marked() -> None:
    """`make test` says to pytest which to leave out; `make test-all` leaves nothing out."""
    assert pytest_of("test") == [*pytest_of("test-all"), "-m", '"not services"']


def test_files_stay_together() -> None:
    """Two processes share the work by files, so what a file sets up is set up once."""
    assert pytest_of("test-all") == ["-n", "auto", "--dist", "loadfile"]


def test_everything_is_run_where_changes_are_judged() -> None:
    """The script of the build runs all tests, after it has tried to install the servers."""
    ran = re.findall(r"^make (\S+)", text_of(".ci/run"), re.MULTILINE)
    assert ran == ["services", "test-all"]
