"""Which threads a version would break: as a list, and as a command for CI."""

from __future__ import annotations

import operator
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, TypedDict

import pytest

from durable_graph import START, StateGraph, interrupt
from durable_graph.compat import Incompatibility, check_compat, main
from durable_graph.graph.compiled import CompiledGraph
from durable_graph.migration import convert_key, drop_key, rename_node
from durable_graph.ports.backend import Backend, ThreadKey
from durable_graph.saver import Saver
from durable_graph.types import RunnableConfig
from durable_graph_sqlite import SqliteSaver
from tests.runtime.backends import Around
from tests.runtime.kit import identities


class Old(TypedDict, total=False):
    log: Annotated[list[str], operator.add]
    count: str


class New(TypedDict, total=False):
    log: Annotated[list[str], operator.add]


class Counted(New, total=False):
    count: int


async def asks(state: Any) -> Any:
    return {"log": [interrupt("?")]}


async def nothing(state: Any) -> None:
    return None


def build(state: Any, saver: Saver, *names: str, **options: Any) -> CompiledGraph:
    graph, before = StateGraph(state), START
    for name in names:
        action: Callable[[Any], Any] = asks if name == "ask" else nothing
        graph.add_node(name, action).add_edge(before, name)
        before = name
    return graph.compile(saver, **options)


class Reads(Around):
    """Notes the threads that are read."""

    def __init__(self, inner: Backend) -> None:
        super().__init__(inner)
        self.looked: list[str] = []

    async def read(self, thread: ThreadKey, *args: Any, **options: Any) -> Any:
        self.looked.append(thread.thread)
        return await super().read(thread, *args, **options)


def thread(name: str) -> RunnableConfig:
    return {"configurable": {"thread_id": name}}


async def test_only_threads_that_would_break_are_listed(saver: Saver) -> None:
    """Each with its checkpoint, and with what it lacks; a finished one only if asked for."""
    old = build(Old, saver, "ask")
    await old.ainvoke({}, thread("fine"))
    await old.ainvoke({"count": "1"}, thread("key"))
    await build(Old, saver, "gone").ainvoke({}, thread("node"), interrupt_before="*")
    await build(Old, saver, "gone").ainvoke({"count": "2"}, thread("finished"))
    new = build(New, saver, "ask")
    await new.ainvoke({}, thread("own"))
    before = {n: await identities(saver, thread(n)) for n in ("fine", "key", "node", "own")}
    found = {one.thread_id: one for one in await check_compat(new, saver)}
    assert found.keys() == {"key", "node"}
    checkpoint = (await old.aget_state(thread("key"))).checkpoint_id
    assert checkpoint is not None
    lost = "has a value, and the state has no such key"
    assert found["key"] == Incompatibility("key", checkpoint, None, "count", lost)
    assert str(found["key"]) == f"thread 'key': key 'count' {lost}"
    assert (found["node"].node, found["node"].key) == ("gone", None)
    assert {n: await identities(saver, thread(n)) for n in before} == before
    everything = {one.thread_id for one in await check_compat(new, saver, finished=True)}
    assert everything == {"key", "node", "finished"}


async def test_migrations_count(saver: Saver) -> None:
    """What they bring up to date is not listed; what they fail on is."""
    old = build(Old, saver, "ask")
    await old.ainvoke({"count": "1"}, thread("number"))
    await old.ainvoke({"count": "one"}, thread("word"))
    renamed = build(New, saver, "ask2", migrations=[rename_node("ask", "ask2"), drop_key("count")])
    assert await check_compat(renamed, saver) == []
    changes = [convert_key("count", int, was="str")]
    (one,) = await check_compat(build(Counted, saver, "ask", migrations=changes), saver)
    assert (one.thread_id, one.node, one.key) == ("word", None, None)
    assert "cannot be migrated: The migration ConvertKey" in one.reason


async def test_threads_that_this_version_wrote_are_hardly_read(saver: Saver) -> None:
    """Of each, the last records without what they hold; of the others, what going on reads."""
    old, new = build(Old, saver, "ask"), build(New, saver, "ask", "more")
    for number in range(250):
        graph = old if number % 50 == 0 else new
        await graph.ainvoke({"log": ["x" * 100] * 10}, thread(f"{number}"))
    saver.backend = around = Reads(saver.backend)
    assert await check_compat(new, saver) == []
    assert sorted(around.looked) == ["0", "100", "150", "200", "50"]


MODULE = """
import operator
from typing import Annotated, Any, TypedDict
from durable_graph import START, StateGraph

class State(TypedDict, total=False):
    log: Annotated[list[str], operator.add]

def ask(state: State) -> None: ...

good = StateGraph(State).add_node("ask", ask).add_edge(START, "ask")
bad = StateGraph(State).add_node("other", ask).add_edge(START, "other")
def made() -> Any:
    return bad.compile()
nothing = 3
"""


@pytest.fixture
async def stored(tmp_path: Path) -> Path:
    """A folder with a thread that asks, and a module with graphs."""
    (tmp_path / "graphs.py").write_text(MODULE)
    async with SqliteSaver(tmp_path / "threads.db") as saver:
        await build(New, saver, "ask").ainvoke({}, thread("waits"))
    return tmp_path


def command(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "durable_graph.compat", *arguments],
        cwd=folder,
        capture_output=True,
        encoding="utf-8",
        timeout=50,
        check=False,
    )


def test_the_command_says_what_breaks(stored: Path) -> None:
    """0 and 1 are its verdict, and the output names thread, node and reason."""
    url = f"sqlite:///{stored / 'threads.db'}"
    fine = command(stored, "graphs:good", url)
    assert (fine.returncode, fine.stdout) == (0, "All threads can go on.\n"), fine.stderr
    broken = command(stored, "graphs:made", url)
    assert broken.returncode == 1, broken.stderr
    assert broken.stdout.splitlines() == [
        "thread 'waits': node 'ask' is due, and the graph has no such node",
        "1 threads cannot go on.",
    ]


@pytest.mark.parametrize(
    ("spec", "url", "text"),
    [
        ("graphs", "memory://", "give module:graph"),
        ("graphs:missing", "memory://", "missing"),
        ("missing_module:graph", "memory://", "missing_module"),
        ("graphs:nothing", "memory://", "no graph"),
        ("graphs:good", "nowhere://", "no backend for nowhere://"),
    ],
)
def test_what_cannot_be_found_out_is_no_verdict(
    spec: str,
    url: str,
    text: str,
    stored: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """2, and why: so a typing error in CI is not taken for all being well."""
    monkeypatch.syspath_prepend(stored)
    monkeypatch.delitem(sys.modules, "graphs", raising=False)
    assert main([spec, url]) == 2
    assert text in capsys.readouterr().err


def test_no_threads_at_all_are_mentioned(
    stored: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It may be the wrong place."""
    monkeypatch.syspath_prepend(stored)
    monkeypatch.delitem(sys.modules, "graphs", raising=False)
    assert main(["graphs:bad", "memory://"]) == 0
    assert "no threads in memory:// at all" in capsys.readouterr().err
