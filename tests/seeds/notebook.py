"""Runs snippets as a notebook runs its cells: one by one, in one namespace.

A snippet's file is as people wrote it, import lines excepted; ``# %% name`` begins a cell. What
an import line binds can be bound to something else here, as another import line would.
"""

from __future__ import annotations

import ast
import asyncio
import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from durable_graph.saver import Saver

__all__ = ["Notebook", "SaverMaker"]

SaverMaker = Callable[[], Saver]

_FOLDER = Path(__file__).parent / "snippets"


class Notebook:
    """A file of snippets, and the namespace in which its cells run.

    Args:
        name: the file's name, without ``.py``.
        given: names that are bound from the beginning, and again after every import line.
    """

    def __init__(self, name: str, **given: Any) -> None:
        path = _FOLDER / f"{name}.py"
        self._given = given
        self._file = str(path)
        self._cells: dict[str, str] = {}
        for part in path.read_text(encoding="utf-8").split("# %% ")[1:]:
            title, _, code = part.partition("\n")
            self._cells[title] = code
        self.names: dict[str, Any] = {"__name__": name, **given}

    def __getitem__(self, name: str) -> Any:
        return self.names[name]

    def run(self, *cells: str, instead: Mapping[str, str] | None = None) -> Any:
        """Run cells; returns the value of the last one's last line, as a notebook shows it.

        Args:
            cells: which.
            instead: what to put in the place of texts, such as the id of a checkpoint that only
                the snippet's author had.
        """
        value = None
        for cell in cells:
            code = self._cells[cell]
            for text, other in (instead or {}).items():
                assert text in code, f"{cell!r} does not have {text!r}"
                code = code.replace(text, other)
            value = None
            for statement in ast.parse(code).body:
                value = self._execute(statement)
        return value

    def _execute(self, statement: ast.stmt) -> Any:
        tree: ast.Module | ast.Expression
        if isinstance(statement, ast.Expr):
            tree, mode = ast.Expression(statement.value), "eval"
        else:
            tree, mode = ast.Module([statement], []), "exec"
        code = compile(tree, self._file, mode, ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
        value = eval(code, self.names)
        if code.co_flags & inspect.CO_COROUTINE:
            value = asyncio.run(value)
        if isinstance(statement, (ast.Import, ast.ImportFrom)):
            self.names.update(self._given)
        return value

    def close(self) -> None:
        """Close the savers that the snippets made."""
        for value in self.names.values():
            if isinstance(value, Saver):
                value.close()
