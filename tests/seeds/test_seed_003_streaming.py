"""Streaming an agent: updates, tokens, and the same with ``async for``."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.seeds.notebook import Notebook, SaverMaker
from tests.seeds.standins import create_deep_agent

NAME = "seed_003_streaming_and_persistence"


@pytest.fixture
def agents(notebook: Callable[..., Notebook], make_saver: SaverMaker) -> Notebook:
    """The document, with the function and the saver that its snippets take for granted."""
    return notebook(NAME, create_deep_agent=create_deep_agent, checkpointer=make_saver())


def test_updates_mode_prints_a_dictionary_per_node(
    agents: Notebook, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each event is a dict of the state updates of a single node."""
    agents.run("updates mode")
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("{'agent': {'messages': [")
    assert "You said: Research AI trends" in line


def test_messages_mode_prints_token_by_token_through_an_events_content(
    agents: Notebook, capsys: pytest.CaptureFixture[str]
) -> None:
    """Events have a `content`, and the whole message does not come once more after its tokens."""
    agents.run("updates mode")
    capsys.readouterr()
    agents.run("messages mode")
    printed = capsys.readouterr().out
    assert printed == "You said: Research AI trends, then: Explain quantum computing "


def test_async_streaming_yields_the_same_updates(agents: Notebook) -> None:
    """`astream` in an ``async for``, at the top level of a notebook."""
    processed: list[Any] = []

    async def process_event(event: Any) -> None:
        processed.append(event)

    agents.names["process_event"] = process_event
    agents.run("updates mode", "async streaming")
    (event,) = processed
    assert event["agent"]["messages"][0].content.endswith("then: Research competitors")
    assert json.loads(json.dumps(event)) == event  # plain data, to be sent on as it is


def test_the_production_setup_streams_to_its_client(notebook: Callable[..., Notebook]) -> None:
    """Saver, store and backend by connection string; a thread per user; updates are sent on."""
    sent: list[Any] = []
    book = notebook(NAME, user_id=7, user_message="Hello", send_to_client=sent.append)
    book.run("production setup")
    assert [event["agent"]["messages"][0].content for event in sent] == ["You said: Hello"]
    state = book["agent"].get_state({"configurable": {"thread_id": "user-7"}})
    assert [message.type for message in state.values["messages"]] == ["human", "ai"]
