"""The plugin, as somebody else's tests use it: in a pytest of their own."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[2]

GRAPH: Final = """
import operator
from typing import Annotated, TypedDict

from durable_graph import START, MessagesState, Runtime, StateGraph
from durable_graph.testing import crash_sweep


class Order(TypedDict, total=False):
    log: Annotated[list[str], operator.add]


def shop(payments, keyed):
    async def pay(order: Order, runtime: Runtime) -> Order:
        payments.add("charge", key=runtime.idempotency_key if keyed else None)
        return {"log": ["paid"]}

    return StateGraph(Order).add_node(pay).add_edge(START, "pay")
"""


@pytest.fixture
def users(pytester: pytest.Pytester) -> pytest.Pytester:
    """A folder of somebody's tests, with asyncio and errors for warnings."""
    pytester.makeini(
        """
        [pytest]
        asyncio_mode = auto
        asyncio_default_fixture_loop_scope = function
        filterwarnings = error
        """
    )
    pytester.makepyfile(graphs=GRAPH)
    return pytester


def outcome(users: pytest.Pytester, **files: str) -> pytest.RunResult:
    """Run somebody's tests in a process of their own."""
    users.makepyfile(**files)
    # By the name of its entry point, so that it is loaded once where that is installed.
    return users.runpytest_subprocess("-p", "durable_graph", "-p", "no:cacheprovider")


def test_sound_graphs_pass(users: pytest.Pytester) -> None:
    """All fixtures together, as the documentation shows them."""
    result = outcome(
        users,
        test_shop="""
        from durable_graph import START, MessagesState, StateGraph
        from durable_graph.testing import crash_sweep
        from graphs import shop

        CONFIG = {"configurable": {"thread_id": "1"}}

        async def test_crashes(durable_effects):
            await crash_sweep(shop(durable_effects, True).compile, {}, effects=durable_effects)

        async def test_saver_and_clock(durable_saver, durable_clock, durable_effects):
            graph = shop(durable_effects, True).compile(durable_saver)
            assert (await graph.ainvoke({}, CONFIG))["log"] == ["paid"]
            await durable_clock.advance(3600)
            await graph.ainvoke({"log": ["again"]}, CONFIG)
            (thread,) = [thread async for thread in durable_saver.alist_threads()]
            assert thread.updated_at - thread.created_at == 3600
            durable_effects.check(["charge", "charge"])

        async def test_model(durable_model, durable_saver):
            model = durable_model("Hello")

            async def speak(state):
                return {"messages": [await model.ainvoke(state["messages"])]}

            graph = StateGraph(MessagesState).add_node(speak).add_edge(START, "speak")
            state = await graph.compile(durable_saver).ainvoke({"messages": "Hi"}, CONFIG)
            assert state["messages"][-1].content == "Hello"
        """,
    )
    result.assert_outcomes(passed=3)


def test_wrong_graphs_fail(users: pytest.Pytester) -> None:
    """With the finding in the report, not with a traceback into the library's middle alone."""
    result = outcome(
        users,
        test_shop="""
        from durable_graph import START, MessagesState, StateGraph
        from durable_graph.testing import crash_sweep
        from graphs import shop

        async def test_crashes(durable_effects):
            await crash_sweep(shop(durable_effects, False).compile, {}, effects=durable_effects)

        def test_script(durable_model):
            durable_model("Hello", "Goodbye").invoke("Hi")
        """,
    )
    result.assert_outcomes(failed=1, passed=1, errors=1)
    result.stdout.fnmatch_lines(
        [
            "*1 of * crashes changed what the graph does.",
            "*'charge' of node 'pay' happened 2 times. Its node can run again*",
            "*before storage call * (append: step 1, of pay)",
        ]
    )
    result.stdout.fnmatch_lines(["*AssertionError: 1 of 2 lines of the script were not said.*"])


def test_the_fixtures_are_explained(users: pytest.Pytester) -> None:
    """``pytest --fixtures`` shows each with its docstring."""
    result = users.runpytest_subprocess("-p", "durable_graph", "--fixtures", "-q")
    (_, _, rest) = result.stdout.str().partition(
        "fixtures defined from durable_graph.testing.plugin"
    )
    (shown, _, _) = rest.partition("fixtures defined from")
    for name in ("clock", "effects", "model", "saver"):
        assert f"durable_{name} -- " in shown
    assert "no docstring available" not in shown


def test_pytest_loads_it_by_itself() -> None:
    """The entry point names the module, under its own name."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    plugins = project["project"]["entry-points"]["pytest11"]
    assert plugins == {"durable_graph": "durable_graph.testing.plugin"}


def test_it_costs_little_where_no_graph_is_tested() -> None:
    """Importing it imports the library, but neither a database's driver nor what tests need."""
    code = "import pytest, sys, durable_graph.testing.plugin; print([*sys.modules])"
    loaded = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    )
    assert "'durable_graph.testing.plugin'" in loaded.stdout
    for name in ("aiosqlite", "sqlite3", "hypothesis", "pydantic", "langchain_core"):
        assert f"'{name}'" not in loaded.stdout
