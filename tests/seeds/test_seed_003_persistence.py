"""An agent's conversation: kept on its thread, in a file, and through the death of a process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from durable_graph.errors import ConfigError, MissingCheckpointerError
from durable_graph.types import RunnableConfig
from tests.seeds.notebook import Notebook, SaverMaker
from tests.seeds.standins import create_deep_agent

NAME = "seed_003_streaming_and_persistence"
ROOT = Path(__file__).parents[2]


def said(state: dict[str, Any]) -> list[str]:
    """What the person has said, in order."""
    return [m.content for m in state["messages"] if m.type == "human"]


@pytest.mark.parametrize(
    ("cell", "file"), [("development", "agent.db"), ("production", "production.db")]
)
def test_a_saver_from_a_connection_string_opens_on_first_use(
    cell: str, file: str, notebook: Callable[..., Notebook]
) -> None:
    """No `with`, no `setup()`: `from_conn_string` returns a saver that works."""
    book = notebook(NAME, create_deep_agent=create_deep_agent)
    book.run(cell)
    assert not Path(file).exists()
    config: RunnableConfig = {"configurable": {"thread_id": "1"}}
    book["agent"].invoke({"messages": [{"role": "user", "content": "hi"}]}, config)
    assert Path(file).exists()


def test_the_conversation_continues_on_the_same_thread(
    notebook: Callable[..., Notebook], make_saver: SaverMaker
) -> None:
    """Turn 2 knows turn 1."""
    with make_saver() as saver:
        book = notebook(NAME, agent=create_deep_agent(checkpointer=saver))
        book.run("thread management")
    assert said(book["result"]) == ["Research AI startups", "Focus on healthcare AI"]
    assert book["result"]["messages"][-1].content == (
        "You said: Research AI startups, then: Focus on healthcare AI"
    )


def test_after_a_crash_a_new_message_finds_the_conversation(
    notebook: Callable[..., Notebook],
) -> None:
    """A process is killed in the middle of a turn; another one continues where it left off."""
    command = [sys.executable, "-m", "tests.seeds.dying", NAME, "Research AI trends"]
    died = subprocess.run(
        [*command, "development", "updates mode"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])},
        capture_output=True,
        check=False,
        timeout=50,
    )
    assert died.returncode == -signal.SIGKILL, died.stderr.decode()
    book = notebook(NAME, create_deep_agent=create_deep_agent)
    book.run("development", "crash recovery")
    assert said(book["result"]) == ["Research AI trends", "Continue where you left off"]
    assert book["result"]["messages"][-1].content == (
        "You said: Research AI trends, then: Continue where you left off"
    )


# -- the anti-patterns -------------------------------------------------------------------------


def test_a_memory_saver_forgets_when_it_is_gone(notebook: Callable[..., Notebook]) -> None:
    """Wrong in production: it works, and another saver (another process) knows nothing."""
    book = notebook(NAME, create_deep_agent=create_deep_agent)
    book.run("wrong: memory saver in production")
    config: RunnableConfig = {"configurable": {"thread_id": "1"}}
    book["agent"].invoke({"messages": [{"role": "user", "content": "hi"}]}, config)
    assert said(book["agent"].get_state(config).values) == ["hi"]
    book.run("wrong: memory saver in production")
    assert book["agent"].get_state(config).values == {}


@pytest.mark.parametrize("cell", ["wrong: no thread_id", "wrong: invoke for long-running tasks"])
def test_a_call_without_a_thread_id_is_refused(
    cell: str, notebook: Callable[..., Notebook], make_saver: SaverMaker
) -> None:
    """The error says which config is missing; nothing has been run or stored."""
    with make_saver() as saver:
        book = notebook(NAME, agent=create_deep_agent(checkpointer=saver))
        with pytest.raises(ConfigError, match=r'config=\{"configurable": \{"thread_id": "..."\}\}'):
            book.run(cell)
        assert list(saver.list_threads()) == []


def test_users_with_the_same_thread_id_share_a_conversation(
    notebook: Callable[..., Notebook], make_saver: SaverMaker
) -> None:
    """Wrong, but not in secret: what one user says, the other finds in the state."""
    with make_saver() as saver:
        book = notebook(NAME, agent=create_deep_agent(checkpointer=saver))
        book.run("wrong: same thread_id for different users")
        for user in ("Ada", "Bob"):
            content = f"I am {user}"
            book["agent"].invoke(
                {"messages": [{"role": "user", "content": content}]}, book["config"]
            )
        assert said(book["agent"].get_state(book["config"]).values) == ["I am Ada", "I am Bob"]


def test_a_question_without_a_checkpointer_is_refused(notebook: Callable[..., Notebook]) -> None:
    """An `interrupt` cannot be kept without a saver: the error names node and remedy."""
    book = notebook(NAME, create_deep_agent=create_deep_agent)
    book.run("wrong: no checkpointer with hitl")
    message = {"role": "user", "content": "please delete_file x"}
    with pytest.raises(MissingCheckpointerError, match=r"'agent'.*compile\(checkpointer="):
        book["agent"].invoke({"messages": [message]})
