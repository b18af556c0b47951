"""Snippets, each over every saver."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from durable_graph import InMemorySaver
from durable_graph_sqlite import SqliteSaver
from tests.seeds.notebook import Notebook, SaverMaker


@pytest.fixture(params=["memory", "sqlite"])
def make_saver(request: pytest.FixtureRequest, tmp_path: Path) -> SaverMaker:
    """Makes the saver that stands where a snippet says `InMemorySaver()`."""
    if request.param == "memory":
        return InMemorySaver
    return lambda: SqliteSaver(tmp_path / "threads.db")


@pytest.fixture
def notebook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Notebook]]:
    """Opens snippets, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    opened: list[Notebook] = []

    def open_notebook(name: str, **given: Any) -> Notebook:
        opened.append(Notebook(name, **given))
        return opened[-1]

    yield open_notebook
    for one in opened:
        one.close()
