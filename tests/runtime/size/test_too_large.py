"""What is larger than may be stored is refused by name before any of it is sent to storage."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from durable_graph import START, Command, Send, StateGraph, interrupt, step
from durable_graph.decisions.liveness import Process
from durable_graph.errors import ConfigError, StateTooLargeError
from durable_graph.ports.backend import Append, Outcome
from durable_graph.ports.memory import InMemoryBackend
from durable_graph.saver import InMemorySaver, Saver
from durable_graph.types import Durability, RunnableConfig
from tests.runtime.kit import Items, bytes_of, chain, key_of, says

LIMIT = 10_000
TOO_LARGE = "x" * (LIMIT + 1)
FITS = "x" * (LIMIT - 2)  # and two quotes


class Narrow(InMemoryBackend):
    """Takes little at once, and notes the most that it was given."""

    capabilities = replace(
        InMemoryBackend.capabilities, max_record_bytes=30_000, max_append_bytes=50_000
    )

    def __init__(self) -> None:
        super().__init__()
        self.largest = 0

    async def append(
        self, batch: Sequence[Append], beat: Process | None = None
    ) -> Sequence[Outcome]:
        for append in batch:
            bodies = [len(record.header) + len(record.body or b"") for record in append.records]
            self.largest = max(self.largest, *bodies, *map(len, append.blobs.values()))
        return await super().append(batch, beat)


async def test_a_value_over_the_limit_is_refused_and_the_thread_goes_on(
    config: RunnableConfig,
) -> None:
    """The error names node and key and what to do; nothing of the value was stored."""
    saver = InMemorySaver(max_value_bytes=LIMIT)
    made = [TOO_LARGE, FITS]

    async def make(state: Items) -> Any:
        return {"last": made.pop(0)}

    graph = chain(("first", says("a")), ("make", make), saver=saver)
    with pytest.raises(StateTooLargeError, match=r"'make' .* 'last': it has 10,003 bytes") as told:
        await graph.ainvoke({}, config)
    assert "max_value_bytes" in str(told.value)
    assert await bytes_of(saver, config) < 5000
    state = await graph.aget_state(config)
    assert (state.values, state.next) == ({"items": ["a"], "count": 0}, ("make",))
    assert (await graph.ainvoke(None, config))["last"] == FITS


async def test_parts_of_a_list_and_of_a_dict_count_by_themselves(config: RunnableConfig) -> None:
    """So a long list of large texts is stored; one of small parts is one value, and refused."""
    graph = chain(("look", says("a")), saver=InMemorySaver(max_value_bytes=LIMIT))
    for value in ([FITS, FITS[1:], FITS[2:]], {"one": FITS, "other": FITS[1:]}):
        assert (await graph.ainvoke({"last": value}, config))["last"] == value
    with pytest.raises(StateTooLargeError, match="'last'"):
        await graph.ainvoke({"last": ["y" * 1000 for _ in range(11)]}, config)
    assert (await graph.aget_state(config)).values["last"] == {"one": FITS, "other": FITS[1:]}


async def test_an_input_over_the_limit_leaves_no_thread(config: RunnableConfig) -> None:
    """A call that cannot be accepted has not happened."""
    saver = InMemorySaver(max_value_bytes=LIMIT)
    with pytest.raises(StateTooLargeError):
        await chain(("a", says("a")), saver=saver).ainvoke({"last": TOO_LARGE}, config)
    assert await saver.backend.thread(key_of(config)) is None


async def test_whatever_is_stored_by_itself_is_looked_at(config: RunnableConfig) -> None:
    """Answers, questions, results of steps, and arguments of sends."""
    saver = InMemorySaver(max_value_bytes=LIMIT)

    async def asks(state: Items) -> Any:
        return {"last": interrupt("what?")}

    async def asks_too_much(state: Items) -> Any:
        return {"last": interrupt(TOO_LARGE)}

    async def steps(state: Items) -> Any:
        return {"last": await step("key", lambda: TOO_LARGE)}

    async def sends(state: Items) -> Any:
        return Command(goto=Send("node", TOO_LARGE))

    for node in (asks_too_much, steps, sends):
        with pytest.raises(StateTooLargeError):
            await chain(("node", node), saver=saver).ainvoke({}, config)
        await saver.adelete_thread(config["configurable"]["thread_id"])
    asking = chain(("node", asks), saver=saver)
    await asking.ainvoke({}, config)
    with pytest.raises(StateTooLargeError, match="The answer"):
        await asking.ainvoke(Command(resume=TOO_LARGE), config)
    assert (await asking.ainvoke(Command(resume=FITS), config))["last"] == FITS


@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
async def test_a_record_that_storage_does_not_take_is_not_sent_to_it(
    durability: Durability, config: RunnableConfig
) -> None:
    """Two values that fit make a record that does not: refused, and the thread is where it was."""
    backend = Narrow()
    saver = Saver(backend)
    parts = [f"{number:4}" * 250 for number in range(40)]
    wanted = 20

    async def make(state: Items) -> Any:
        return {"last": parts[:wanted], "items": parts[20 : 20 + wanted]}

    graph = chain(("make", make), saver=saver)
    with pytest.raises(StateTooLargeError, match=r"Record \d+ of thread .* up to 30,000"):
        await graph.ainvoke({"count": 1}, config, durability=durability)
    assert backend.largest < 30_000
    wanted = 5
    given = None if durability != "exit" else {"count": 1}
    result = await graph.ainvoke(given, config, durability=durability)
    assert result == {"count": 1, "last": parts[:5], "items": parts[20:25]}
    assert await saver.averify(config["configurable"]["thread_id"]) == []


async def test_what_is_too_much_together_is_not_sent_to_storage(config: RunnableConfig) -> None:
    """Each large value fits, and all of one superstep do not."""
    backend = Narrow()

    async def make(state: Items) -> Any:
        return {"items": [f"{number}" * 20_000 for number in range(3)]}

    graph = chain(("make", make), saver=Saver(backend))
    with pytest.raises(StateTooLargeError, match=re.escape("up to 50,000. Nothing was written")):
        await graph.ainvoke({}, config)
    assert backend.largest < 20_000
    assert (await graph.aget_state(config)).next == ("make",)


async def test_a_state_that_has_grown_beyond_what_storage_takes_goes_on(
    config: RunnableConfig,
) -> None:
    """Then none of its records is a snapshot; each says what was added."""
    backend = Narrow()
    saver = Saver(backend)

    async def add(state: Items) -> Any:
        return {"items": [f"{len(state['items']):4}" * 500], "last": len(state["items"])}

    graph = StateGraph(Items).add_node(add).add_edge(START, "add").compile(saver)
    for _ in range(60):
        await graph.ainvoke({"items": []}, config)
    saver.hot.take(key_of(config))
    state = await graph.aget_state(config)
    assert len(state.values["items"]) == 60
    assert sum(map(len, state.values["items"])) > 3 * backend.largest


async def test_a_thread_is_not_copied_to_where_it_does_not_fit(config: RunnableConfig) -> None:
    """An import into storage that takes less is refused, and leaves nothing."""
    saver, thread = InMemorySaver(), config["configurable"]["thread_id"]
    await chain(("a", says("a")), saver=saver).ainvoke({"last": "x" * 40_000}, config)
    narrow = Saver(Narrow())
    with pytest.raises(StateTooLargeError, match="The large value"):
        await narrow.threads.import_(await saver.threads.export(thread))
    assert await narrow.backend.thread(key_of(config)) is None


@pytest.mark.parametrize("wrong", [0, 4095, -1, 1e6, "1 MB", True])
def test_a_limit_that_makes_no_sense_is_refused(wrong: Any) -> None:
    """What is smaller than the values that are looked at could not be held."""
    with pytest.raises(ConfigError, match="max_value_bytes is 4096 or more"):
        InMemorySaver(max_value_bytes=wrong)
