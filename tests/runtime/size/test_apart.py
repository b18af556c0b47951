"""What looks large is encoded beside the event loop: what goes on there tears and loses nothing."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from durable_graph import Command, Send, register_type
from durable_graph.engine import apart as apart_module
from durable_graph.errors import InvalidUpdateError
from durable_graph.saver import InMemorySaver, Saver
from durable_graph.types import Durability, RunnableConfig
from tests.runtime.kit import Items, bytes_of, chain, fan, key_of, says

FILLER = ["y" * 1000 for _ in range(1500)]


class Slow:
    """A value whose encoding waits until it is told to go on."""

    held: threading.Event
    begun: asyncio.Event
    loop: asyncio.AbstractEventLoop


def _encode(value: Slow) -> Any:
    if threading.current_thread() is not threading.main_thread():
        Slow.loop.call_soon_threadsafe(Slow.begun.set)
        assert Slow.held.wait(20), "nobody let it go on"
    return None


register_type("test.slow", Slow, encode=_encode, decode=lambda content, version: Slow())


@contextmanager
def slowly() -> Iterator[None]:
    """Whatever is `Slow` is encoded only after this block."""
    Slow.held, Slow.begun, Slow.loop = (
        threading.Event(),
        asyncio.Event(),
        asyncio.get_running_loop(),
    )
    try:
        yield
    finally:
        Slow.held.set()


async def test_the_loop_goes_on_and_a_sibling_is_stored_meanwhile(
    saver: Saver, config: RunnableConfig
) -> None:
    """Its large values are written, and those that are being encoded are not lost with them."""

    async def large(state: Items) -> Any:
        return {"items": [Slow(), "z" * 10_000, *FILLER]}

    async def small(state: Items) -> Any:
        await Slow.begun.wait()
        return {"last": "a" * 10_000}

    async def releases(state: Items) -> Any:
        while not saver.statistics().writes > 1:
            await asyncio.sleep(0)
        Slow.held.set()
        return {"count": 1}

    graph = fan(("large", large), ("small", small), ("releases", releases), saver=saver)
    with slowly():
        result = await graph.ainvoke({}, config)
    saver.hot.take(key_of(config))
    values = (await graph.aget_state(config)).values
    for found in (result, values):
        assert found["items"][1:] == ["z" * 10_000, *FILLER]
        assert (found["last"], found["count"]) == ("a" * 10_000, 1)
    assert await saver.averify(config["configurable"]["thread_id"]) == []


async def test_a_run_that_is_cancelled_meanwhile_ends_when_nothing_is_under_way(
    saver: Saver, config: RunnableConfig
) -> None:
    """However often it is cancelled; the thread is as before, and goes on with the same node."""

    async def large(state: Items) -> Any:
        return {"items": [Slow(), *FILLER]}

    graph = chain(("first", says("a")), ("large", large), saver=saver)
    with slowly():
        run = asyncio.ensure_future(graph.ainvoke({}, config))
        await Slow.begun.wait()
        for _ in range(3):
            run.cancel()
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        assert not run.done()
    with pytest.raises(asyncio.CancelledError):
        await run
    state = await graph.aget_state(config)
    assert (state.values["items"], state.next) == (["a"], ("large",))
    assert (await graph.ainvoke(None, config))["items"][2:] == FILLER


async def test_what_is_changed_meanwhile_is_refused(config: RunnableConfig) -> None:
    """A dict that grows while it is gone through; the error says what to do, the thread goes on."""
    kept: list[dict[str, Any]] = []

    async def large(state: Items) -> Any:
        kept.append({"slow": Slow(), "filler": FILLER})
        return {"last": kept[-1]}

    async def meddles(state: Items) -> Any:
        await Slow.begun.wait()
        if len(kept) == 1:
            kept[0]["more"] = 1
        Slow.held.set()

    graph = fan(("large", large), ("meddles", meddles), saver=InMemorySaver())
    with slowly(), pytest.raises(InvalidUpdateError, match="'large' returned was changed while"):
        await graph.ainvoke({}, config)
    assert (await graph.ainvoke(None, config))["last"]["filler"] == FILLER


@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
async def test_records_stay_in_order(
    durability: Durability, saver: Saver, config: RunnableConfig
) -> None:
    """Large and small ones by turns, and a snapshot of it all."""

    async def grow(state: Items) -> Any:
        count = state["count"]
        more = {"items": [f"{count}:{part}" for part in FILLER] if count % 2 else [count]}
        return Command(update={**more, "count": 1}, goto="grow" if count < 7 else [])

    graph = chain(("grow", grow), saver=saver)
    result = await graph.ainvoke({"last": "x" * 2**21}, config, durability=durability)
    saver.hot.take(key_of(config))
    values = (await graph.aget_state(config)).values
    wanted: list[Any] = []
    for count in range(8):
        wanted += [f"{count}:{part}" for part in FILLER] if count % 2 else [count]
    assert result == values == {"items": wanted, "count": 8, "last": "x" * 2**21}
    assert await saver.averify(config["configurable"]["thread_id"]) == []


async def test_large_arguments_of_sends_and_failures_to_encode(
    saver: Saver, config: RunnableConfig
) -> None:
    """They are encoded apart, too; what has no stored form is refused as ever."""
    seen = []

    async def sends(state: Any) -> Any:
        if isinstance(state, dict) and "arg" in state:
            seen.append(state["arg"])
            return None
        return Command(goto=Send("sends", {"arg": FILLER}))

    await chain(("sends", sends), saver=saver).ainvoke({}, config)
    assert seen == [FILLER]

    async def fails(state: Items) -> Any:
        return {"last": [object(), *FILLER]}

    with pytest.raises(InvalidUpdateError, match="'fails' cannot write this to 'last': a builtins"):
        await chain(("fails", fails), saver=saver).ainvoke({}, config)


async def test_what_is_small_stays_on_the_loop(
    saver: Saver, config: RunnableConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No thread is used for it, not even in a thread that has megabytes behind it."""

    async def write(state: Items) -> Any:
        return {"last": f"{state['count']:4}" * 10_000, "count": 1}

    graph = chain(("write", write), saver=saver)
    monkeypatch.setattr(apart_module, "workers", None)
    for _ in range(40):
        await graph.ainvoke({}, config)
    saver.hot.take(key_of(config))
    assert (await graph.aget_state(config)).values["count"] == 40
    assert await bytes_of(saver, config) > 3 * 2**19
