"""`make audit`: it says what is known, and never that all is well when nobody could be asked."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from tests.security.audit import EXTRAS, absent, installed, verdict

_FOR_DEVELOPERS = {"audit", "bench", "demo", "dev", "examples", "fuzz", "services"}


def said(*entries: dict[str, Any]) -> str:
    """pip-audit's answer about these packages."""
    return json.dumps({"dependencies": entries, "fixes": []})


FLAW = {"id": "PYSEC-1", "fix_versions": ["2.0"], "aliases": [], "description": ""}


@pytest.mark.parametrize(
    ("output", "code", "text"),
    [
        (said({"name": "a", "version": "1", "vulns": []}), 0, "Nothing is known against 1 p"),
        (said({"name": "a", "version": "1", "vulns": [FLAW]}), 1, "a 1: PYSEC-1, mended in 2.0"),
        (said({"name": "a", "skip_reason": "not found"}), 2, "NOT AUDITED.*SERVICE=osv"),
        (
            said({"name": "a", "skip_reason": "x"}, {"name": "b", "version": "1", "vulns": []}),
            0,
            "against 1 packages. Of a the service knows nothing",
        ),
        ("", 2, "NOT AUDITED.*could not be asked.*no route"),
        ("{}", 2, "NOT AUDITED"),
    ],
)
def test_what_an_answer_means(output: str, code: int, text: str) -> None:
    """Found, not found, or not found out."""
    told = verdict(output, "a warning\nno route", 1)
    assert told[0] == code
    assert re.search(text, told[1])


def test_what_is_shipped_with_is_looked_at() -> None:
    """What the default installation and the extras ask for, with what those ask for themselves;
    and nothing that only developers need."""
    pins = [pin.partition("==") for pin in installed(["durable-graph"], ["postgres"])]
    names = {name for name, _, version in pins if version}
    assert {"anyio", "orjson", "asyncpg", "idna"} <= names
    assert not {"durable-graph", "pytest", "ruff", "redis"} & names


def test_every_extra_for_users_is_looked_at() -> None:
    """A new extra is audited, or said here to be for developers only."""
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    assert project["optional-dependencies"].keys() - _FOR_DEVELOPERS == set(EXTRAS)


def test_what_is_not_installed_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It could not be looked at; except what is for another platform."""
    about = tmp_path / "asking-1.dist-info" / "METADATA"
    about.parent.mkdir()
    about.write_text(
        "Metadata-Version: 2.1\nName: asking\nVersion: 1\n"
        "Requires-Dist: pytest>=8\n"
        "Requires-Dist: no-such-thing>=1\n"
        "Requires-Dist: no-such-driver; extra == 'driver'\n"
        "Requires-Dist: no-such-tool; extra == 'dev'\n"
        "Requires-Dist: no-such-port; sys_platform == 'win32' and extra == 'driver'\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert absent(["asking", "no-such-name"], ["driver"]) == [
        "no-such-driver",
        "no-such-name",
        "no-such-thing",
    ]
