"""Which texts of a value are searched by meaning."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from durable_graph.decisions.texts import parse_path, texts_at
from durable_graph.errors import StoreError

VALUE: dict[str, Any] = {
    "a": [{"b": 1, "c": "q"}, {"b": "z"}],
    "c": None,
    "n": 1.5,
    "t": True,
    "x": {"b": "é", "c": [1, 2]},
    "s": "text",
    "d": date(2026, 1, 2),
}


@pytest.mark.parametrize(
    ("path", "texts"),
    [
        ("s", ["text"]),
        ("n", ["1.5"]),
        ("t", ["True"]),
        ("c", []),
        ("missing", []),
        ("s.deeper", []),
        ("a.b", []),
        ("a", ['[{"b": 1, "c": "q"}, {"b": "z"}]']),
        ("a[0]", ['{"b": 1, "c": "q"}']),
        ("a[-1].b", ["z"]),
        ("a[9]", []),
        ("a[-3]", []),
        ("a[*].b", ["1", "z"]),
        ("a[0].{b,c}", ["1", "q"]),
        ("x.{c, b, nothing}", ["[1, 2]", "é"]),
        ("{s,n}", ["text", "1.5"]),
        ("x.*", ["é", "[1, 2]"]),
        ("x.c[*]", ["1", "2"]),
        ("s[0]", []),
        ("d", ['"2026-01-02"']),
    ],
)
def test_a_path_leads_to_texts(path: str, texts: list[str]) -> None:
    """To none, one or several; what is not a text is written as JSON."""
    assert texts_at(VALUE, parse_path(path)) == texts


@pytest.mark.parametrize("path", ["$", ""])
def test_the_whole_value_is_one_text(path: str) -> None:
    """The same for the same value, however its keys are ordered."""
    (text,) = texts_at({"b": 1, "a": "é"}, parse_path(path))
    assert text == '{"a": "é", "b": 1}'
    assert texts_at({"a": "é", "b": 1}, parse_path(path)) == [text]


@pytest.mark.parametrize(
    "path", ["a.", ".a", "a..b", "a[", "a[x]", "a]", "{", "{}", "{a,}", "a[0]b", "a{b}", 7, None]
)
def test_what_is_no_path_is_refused(path: Any) -> None:
    """It would lead nowhere, and nobody would know."""
    with pytest.raises(StoreError, match="path"):
        parse_path(path)
