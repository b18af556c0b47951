"""What the code may not do, held by the linter: code from data, SQL of texts, checks by assert."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = ("durable_graph", "backends")

ALLOWED = Counter(
    {
        # A name out of the program, never out of what is stored.
        ("durable_graph/compat.py", "TID251"): 1,
        ("durable_graph/drawing/extra.py", "TID251"): 1,
        ("durable_graph/ports/drivers.py", "TID251"): 1,
        ("durable_graph/state/langchain.py", "TID251"): 1,
        # The schema's name, which `PostgresBackend` has checked letter by letter.
        ("backends/durable_graph_postgres/opening.py", "S608"): 2,
        # Said to type checkers; nothing depends on it.
        ("backends/durable_graph_aws/service.py", "S101"): 1,
        ("backends/durable_graph_postgres/opening.py", "S101"): 2,
        ("backends/durable_graph_postgres/ranking.py", "S101"): 1,
        ("backends/durable_graph_redis/sessions.py", "S101"): 1,
        ("durable_graph/drawing/graphviz.py", "S101"): 1,
        ("durable_graph/drawing/mermaid.py", "S101"): 1,
        ("durable_graph/drawing/text.py", "S101"): 1,
        ("durable_graph/store/index.py", "S101"): 1,
    }
)
"""Where a line is exempt from a rule, and how many are: one more is a decision, made here."""

_RULES = "S1,S3,S5,S6,TID251"
_CHANCE = "S311"  # a rule about random numbers, of which secrets are made elsewhere


def found_by_ruff(*arguments: str, given: str | None = None) -> list[dict[str, Any]]:
    """What ruff finds, with this project's rules."""
    command = [sys.executable, "-m", "ruff", "check", "--output-format", "json", "--no-cache"]
    ran = subprocess.run(
        [*command, *arguments], cwd=ROOT, input=given, capture_output=True, text=True, check=False
    )
    found: list[dict[str, Any]] = json.loads(ran.stdout)
    return found


@pytest.mark.parametrize(
    ("code", "rule"),
    [
        ("import pickle", "TID251"),
        ("from marshal import loads", "TID251"),
        ("import shelve", "TID251"),
        ("import importlib\nimportlib.import_module('os')", "TID251"),
        ("from importlib import import_module", "TID251"),
        ("import yaml\nyaml.load('x')", "S506"),
        ("eval('1')", "S307"),
        ("exec('1')", "S102"),
        ("assert 1", "S101"),
        ("import os\nos.system('true')", "S605"),
        ("import subprocess\nsubprocess.run('true', shell=True)", "S602"),
        ("n = 'x'\nq = f'SELECT * FROM t WHERE a = {n}'", "S608"),
        ("n = 'x'\nq = 'DELETE FROM t WHERE a = %s' % n", "S608"),
        ("n = 'x'\nq = 'UPDATE t SET a = ' + n", "S608"),
        ("n = 'x'\nq = 'INSERT INTO t VALUES ({})'.format(n)", "S608"),
    ],
)
@pytest.mark.parametrize("place", ["durable_graph/log/new.py", "backends/durable_graph_x/new.py"])
def test_what_is_planted_is_found(code: str, rule: str, place: str) -> None:
    """Each of these would fail `make lint`, in the engine and in backends alike."""
    found = found_by_ruff("--stdin-filename", place, "-", given=code)
    assert rule in {entry["code"] for entry in found}


def test_no_line_is_exempt_but_those_that_are_known() -> None:
    """A `noqa` for one of these rules is listed above, with its reason."""
    found = found_by_ruff("--ignore-noqa", "--select", _RULES, "--ignore", _CHANCE, *SOURCES)
    exempt = Counter(
        (Path(entry["filename"]).relative_to(ROOT).as_posix(), entry["code"]) for entry in found
    )
    assert exempt == ALLOWED


def made_code(tree: ast.AST) -> Iterator[int]:
    """The lines that make code of texts by functions that no rule of the linter is about."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id in ("__import__", "compile"):
            yield node.lineno


def test_no_text_becomes_code() -> None:
    """Nowhere in the engine and the backends, also not by what is built in."""
    sources = [path for folder in SOURCES for path in (ROOT / folder).rglob("*.py")]
    assert len(sources) > 200
    trees = ((path, ast.parse(path.read_text())) for path in sources)
    assert [(path, line) for path, tree in trees for line in made_code(tree)] == []


@pytest.mark.parametrize("code", ["__import__('os')", "f = compile\nf('1', '', 'eval')"])
def test_code_of_texts_is_found(code: str) -> None:
    """The test above can fail."""
    assert list(made_code(ast.parse(code))) == [1]
