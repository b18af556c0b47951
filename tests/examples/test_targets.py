"""What make runs: the tests that need no server, or all of them."""

from __future__ import annotations

import re
import subprocess

from benchmarks.systems import LOCAL, SERVED
from tests.examples.documents import ROOT, text_of


def commands(*words: str) -> list[str]:
    """What make would run for a target, with what else is said to it."""
    # A make that was started by a make says which folder it is in, unless told not to.
    command = ["make", "-n", "--no-print-directory", *words]
    shown = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
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
    assert pytest_of("test-all") == ["-n", "auto", "--dist", "worksteal"]


def test_what_make_test_checks_is_checked_without_servers_everywhere() -> None:
    """In a new environment `make test-all` looks at types before it installs storage systems."""
    lines = commands("test-all", "VENV=not-made-yet")
    (types,) = [at for at, line in enumerate(lines) if line.endswith("/mypy")]
    (install,) = [at for at, line in enumerate(lines) if "services]" in line]
    assert types < install


def test_everything_is_run_where_changes_are_judged() -> None:
    """The script of the build runs all tests, after it has tried to install the servers."""
    ran = re.findall(r"^make (\S+)", text_of(".ci/run"), re.MULTILINE)
    assert ran == ["services", "test-all"]


def test_the_benchmarks_are_told_which_storage_system() -> None:
    """`make bench BACKEND=...` measures on that one; without it, what needs no server."""
    assert commands("bench", "BACKEND=redis")[-1].endswith("-m benchmarks.run --backend 'redis' ")
    assert "--backend" not in commands("bench")[-1]


def test_every_storage_system_that_can_be_measured_is_named() -> None:
    """CONTRIBUTING.md says what `BACKEND` can be."""
    (said,) = re.findall(r"make bench BACKEND=(\S+)", text_of("CONTRIBUTING.md"))
    assert said.split("|") == [*SERVED, *LOCAL]
