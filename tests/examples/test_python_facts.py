"""What the survey finds out about a Python file."""

from __future__ import annotations

from pathlib import Path

import pytest

from python_facts import facts_of


def facts(folder: Path, source: str | bytes) -> dict[str, object]:
    """The facts about a file with this source."""
    data = source if isinstance(source, bytes) else source.encode()
    (folder / "a.py").write_bytes(data)
    return dict(facts_of(str(folder), "a.py"))


@pytest.mark.parametrize(
    ("body", "complexity"),
    [
        ("pass", 1),
        ("return a", 1),
        ("if a: pass", 2),
        ("if a: pass\n    elif b: pass\n    else: pass", 3),
        ("return a if b else c", 2),
        ("return a and b and c or d", 4),
        ("for x in a:\n        while b: pass", 3),
        ("try: a()\n    except E: pass\n    except F: pass", 3),
        ("return [x for x in a]", 2),
        ("match a:\n        case 1: pass\n        case _: pass", 3),
        ("def inner():\n        if a: pass", 1),
    ],
)
def test_complexity_is_one_more_than_the_decisions(
    body: str, complexity: int, tmp_path: Path
) -> None:
    """McCabe's number; what a function contains counts for that one."""
    found = facts(tmp_path, f"def f(a, b, c, d):\n    {body}\n")["functions"]
    assert isinstance(found, list)
    assert found[0] == {"name": "f", "line": 1, "complexity": complexity}


def test_functions_have_their_full_names(tmp_path: Path) -> None:
    """Methods, functions in functions, and those in a branch."""
    source = """
class A:
    def m(self):
        async def inner(): pass
if True:
    def f(): pass
"""
    found = facts(tmp_path, source)["functions"]
    assert isinstance(found, list)
    assert [one["name"] for one in found] == ["A.m", "A.m.inner", "f"]


def test_docstrings_count_where_something_is_public(tmp_path: Path) -> None:
    """Module, public classes, their public methods, public functions."""
    source = '''"""Module."""
class A:
    """A."""
    def m(self): pass
    def _m(self): pass
class _B:
    def m(self): pass
async def f():
    """F."""
    def inner(): pass
'''
    found = facts(tmp_path, source)
    assert (found["public"], found["documented"]) == (4, 3)


def test_todos_count_in_comments(tmp_path: Path) -> None:
    """TODO, FIXME and XXX after a ``#``."""
    source = "x = 1  # TODO: more\n# FIXME\n# XXX and TODO\nTODO = 1\n# TODOS\n"
    assert facts(tmp_path, source)["todos"] == 3


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("def f(:\n", "line 1: invalid syntax"),
        (b'x = "\xff"\n', "can't decode byte 0xff"),
        ("x = 1\0\n", "null bytes"),
        ("x = " + "(" * 500 + ")" * 500, "too many nested parentheses"),
        ("x = " + "+".join(["1"] * 20_000), "RecursionError"),
    ],
)
def test_a_file_that_cannot_be_parsed_is_a_fact(
    source: str | bytes, problem: str, tmp_path: Path
) -> None:
    """Bad syntax, bad bytes and bad nesting are told, not raised."""
    found = facts(tmp_path, source)
    assert problem in str(found["problem"])
    assert (found["lines"], found["functions"]) == (0, [])


def test_a_declared_encoding_is_honoured(tmp_path: Path) -> None:
    """Latin-1 that says so is no problem."""
    source = b'# -*- coding: latin-1 -*-\nx = "\xff"\n'
    assert facts(tmp_path, source)["problem"] is None


def test_a_file_that_is_gone_is_a_fact(tmp_path: Path) -> None:
    """A dangling link, or a file deleted meanwhile."""
    assert "FileNotFoundError" in str(facts_of(str(tmp_path), "gone.py")["problem"])
