"""The documents speak of what is there: their links, files, commands and names exist."""

from __future__ import annotations

import ast
import builtins
import inspect
import pkgutil
import re
import subprocess
from collections.abc import Iterator
from functools import cache

import pytest

import durable_graph
import durable_graph_dynamodb
import durable_graph_postgres
import durable_graph_redis
import durable_graph_s3
import durable_graph_sqlite
from durable_graph import encryption, errors, registry, saver, testing, threads, types
from durable_graph.graph.compiled import CompiledGraph
from tests.examples.documents import DOCUMENTS, ROOT, section, spans, text_of

PUBLIC = {
    name
    for module in (
        durable_graph,
        durable_graph_dynamodb,
        durable_graph_postgres,
        durable_graph_redis,
        durable_graph_s3,
        durable_graph_sqlite,
        encryption,
        errors,
        saver,
        testing,
        threads,
        types,
    )
    for name in module.__all__
}
CODE = ("durable_graph", "backends", "tests", "examples", "benchmarks")
FOR_USERS = ("README.md", "docs/TOUR.md")
LACKING = "*Not in this version:*"


@cache
def known() -> set[str]:
    """Every name that the library's code gives to something, parameters included."""
    found: set[str] = set()
    for folder in ("durable_graph", "backends"):
        for file in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                match node:
                    case ast.ClassDef() | ast.FunctionDef() | ast.AsyncFunctionDef():
                        found.add(node.name)
                    case ast.Name(id=name, ctx=ast.Store()) | ast.arg(arg=name):
                        found.add(name)
    return found


def lacking() -> list[str]:
    """The names that the README says this version lacks."""
    (paragraph,) = [p for p in text_of("README.md").split("\n\n") if p.startswith(LACKING)]
    return spans(paragraph)


def names_in(document: str) -> Iterator[str]:
    """What a document sets in code and means as a name: ``Word``, ``a.b`` or ``name(...)``."""
    absent = {*lacking(), "ctx.transaction()"}  # the promises' word for the runtime
    for span in spans(text_of(document)):
        if span in absent or re.search(r"[/\s]|\.(md|py|toml|db)$", span.partition("(")[0]):
            continue
        name, called, _ = span.partition("(")
        if re.fullmatch(r"[A-Za-z_]\w*(\.\w+)*", name) and (
            called or "." in name or re.search(r"[A-Z]\w*[a-z]", name)
        ):
            yield name


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_lead_somewhere(document: str) -> None:
    """Every relative link is a file that exists, and every anchor a heading in it."""
    for target in re.findall(r"\]\((?!https?:)([^)]+)\)", text_of(document)):
        path, _, anchor = target.partition("#")
        place = (ROOT / document).parent / path if path else ROOT / document
        assert place.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.+)$", place.read_text(encoding="utf-8"), re.MULTILINE)
            slugs = [re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings]
            assert anchor in slugs, target


@pytest.mark.parametrize("document", DOCUMENTS)
def test_files_exist(document: str) -> None:
    """Every Python file that is named is there, under that path or beneath the code's folders."""
    for span in spans(text_of(document)):
        if re.fullmatch(r"[\w/]+\.py", span) and not (ROOT / span).exists():
            found = [file for folder in CODE for file in (ROOT / folder).rglob(f"*{span}")]
            assert any(file.as_posix().endswith(f"/{span}") for file in found), span


@pytest.mark.parametrize("document", DOCUMENTS)
def test_make_targets_exist(document: str) -> None:
    """What is to be made is known to make."""
    for target in set(re.findall(r"(?:`|\$ )make ([a-z-]+)", text_of(document))):
        subprocess.run(["make", "-n", target], cwd=ROOT, check=True, capture_output=True)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_names_exist(document: str) -> None:
    """Every class, method and function that is named is there; for users, where they read."""
    for name in names_in(document):
        if name in (registry._GROUP, registry._STORES):
            continue
        if name.startswith("durable_graph."):
            pkgutil.resolve_name(name)
            continue
        first, *_, last = name.split(".") if "." in name else (name, name)
        assert last in known() or hasattr(builtins, last), f"{document} names {name}"
        if document in FOR_USERS and first[0].isupper():
            assert first in PUBLIC or hasattr(builtins, first), f"{name} is not public"


@pytest.mark.parametrize("document", DOCUMENTS)
def test_arguments_exist(document: str) -> None:
    """Every argument that is shown by name is one of some function's."""
    for span in set(spans(text_of(document))) - set(lacking()):
        for name in re.findall(r"(?:^|[(, ])([a-z_]+)=(?![=\s])", span):
            assert name in known(), span


def test_what_is_said_to_be_lacking_is_lacking() -> None:
    """Whatever is built takes its name off the list of what this version lacks."""
    calls = (CompiledGraph.ainvoke, CompiledGraph.astream, CompiledGraph.aget_state)
    arguments = {name for call in calls for name in inspect.signature(call).parameters}
    assert lacking()
    for name in lacking():
        owner, dot, part = name.partition(".")
        if name.endswith("="):
            assert name[:-1] not in arguments, name
        elif dot:
            assert not hasattr(getattr(types, owner), part), name
        else:
            assert name not in PUBLIC, name
            assert not hasattr(CompiledGraph, name), name


def test_the_changelog_has_a_place_for_what_is_new() -> None:
    """Its first section is that of what is not released."""
    headings = re.findall(r"^## (.+)$", text_of("CHANGELOG.md"), re.MULTILINE)
    assert headings[0] == "[Unreleased]"


def test_each_promise_says_where_it_is_tested() -> None:
    """CONTRIBUTING has a row for each promise of the README, in the same order."""
    made = re.findall(r"^\*\*(G\d+) ", text_of("README.md"), re.MULTILINE)
    held = re.findall(
        r"^\| (G\d+) ", section("CONTRIBUTING.md", "Where each promise is tested"), re.MULTILINE
    )
    assert made == held == [f"G{number}" for number in range(1, 18)]
