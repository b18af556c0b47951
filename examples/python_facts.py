"""What the survey wants to know about a Python file: its functions, docstrings and TODOs."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TypeAlias, TypedDict

__all__ = ["Facts", "Function", "facts_of"]


class Function(TypedDict):
    """One function of a file."""

    name: str
    line: int
    complexity: int


class Facts(TypedDict):
    """What is known about one file; `problem` says why nothing is."""

    file: str
    lines: int
    functions: list[Function]
    public: int
    documented: int
    todos: int
    problem: str | None


def facts_of(base: str, file: str) -> Facts:
    """The facts about one file. That it cannot be read or parsed is a fact as well."""
    facts = Facts(file=file, lines=0, functions=[], public=0, documented=0, todos=0, problem=None)
    try:
        source = Path(base, file).read_bytes()
        tree = ast.parse(source)
        public = [tree, *_public_definitions(tree)]
        functions = list(_functions(tree))
    except SyntaxError as error:
        facts["problem"] = f"line {error.lineno}: {error.msg}" if error.lineno else error.msg
    except (OSError, ValueError, RecursionError, MemoryError) as error:
        facts["problem"] = f"{type(error).__name__}: {error}"
    else:
        facts["lines"] = len(source.splitlines())
        facts["functions"] = functions
        facts["public"] = len(public)
        facts["documented"] = sum(ast.get_docstring(node) is not None for node in public)
        facts["todos"] = len(re.findall(rb"#.*\b(?:TODO|FIXME|XXX)\b", source))
    return facts


_Definition: TypeAlias = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
_BRANCHES = (
    ast.If,
    ast.IfExp,
    ast.For,
    ast.AsyncFor,
    ast.While,
    ast.ExceptHandler,
    ast.comprehension,
    ast.match_case,
)


def _public_definitions(tree: ast.AST) -> Iterator[_Definition]:
    """Classes and functions without a leading underscore, and those of public classes."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, _Definition) and not node.name.startswith("_"):
            yield node
            if isinstance(node, ast.ClassDef):
                yield from _public_definitions(node)


def _functions(tree: ast.AST, outer: str = "") -> Iterator[Function]:
    """All functions, those inside others too, each with its own complexity."""
    for node in ast.iter_child_nodes(tree):
        inner = f"{outer}{node.name}." if isinstance(node, _Definition) else outer
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            complexity = 1 + sum(map(_decisions, node.body))
            yield Function(name=inner[:-1], line=node.lineno, complexity=complexity)
        yield from _functions(node, inner)


def _decisions(node: ast.AST) -> int:
    """Decisions beneath a node (McCabe), not counting those of definitions inside it."""
    if isinstance(node, _Definition):
        return 0
    own = len(node.values) - 1 if isinstance(node, ast.BoolOp) else isinstance(node, _BRANCHES)
    return own + sum(map(_decisions, ast.iter_child_nodes(node)))
