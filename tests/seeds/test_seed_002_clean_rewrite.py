"""The clean rewrite: threads that do not collide, inspecting, replaying, forking."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest

from tests.seeds.notebook import Notebook, SaverMaker


@pytest.fixture
def rewrite(notebook: Callable[..., Notebook], make_saver: SaverMaker) -> Notebook:
    """The rewrite after its layer 4."""
    opened = notebook("seed_002_clean_rewrite", InMemorySaver=make_saver)
    opened.run("layer 4")
    return opened


def test_the_latest_checkpoint_is_the_state(rewrite: Notebook) -> None:
    """Layer 5: the final output is what `get_state` returns."""
    final = rewrite.run("layer 5 invoke")
    assert final["topic"] == "pizza"
    assert final["joke"] in final["explanation"]
    assert rewrite.run("layer 5 state").values == final


def test_the_history_is_the_chain_from_the_input_to_the_end(rewrite: Notebook) -> None:
    """Layer 5: input, generate_joke, generate_explanation, final; each the next one's parent."""
    history = rewrite.run("layer 5 history")
    assert [s.next for s in reversed(history)] == [
        ("__start__",),
        ("generate_joke",),
        ("generate_explanation",),
        (),
    ]
    for younger, older in itertools.pairwise(history):
        assert younger.parent_config == older.config


def test_threads_do_not_collide(rewrite: Notebook) -> None:
    """Thread 2 is about pasta; thread 1 is still about pizza."""
    pizza = rewrite.run("layer 5 state")
    assert rewrite.run("thread isolation")["topic"] == "pasta"
    assert rewrite.run("first thread") == pizza
    assert pizza.values["topic"] == "pizza"


def test_a_past_checkpoint_is_inspected_and_replayed(rewrite: Notebook) -> None:
    """Steps A and B: the state before the joke, and a new joke from there."""
    history = rewrite.run("layer 5 history")
    instead = {"<ID>": history[2].checkpoint_id}
    assert rewrite.run("step A inspect", instead=instead).values == {"topic": "pizza"}
    again = rewrite.run("step B replay", instead=instead)
    assert "pizza" in again["joke"]
    assert again["joke"] != history[0].values["joke"]


def test_a_fork_is_a_second_branch(rewrite: Notebook) -> None:
    """Step C: the first branch has pizza jokes, the second one samosa jokes."""
    history = rewrite.run("layer 5 history")
    written = rewrite.run("step C fork", instead={"<ID>": history[2].checkpoint_id})
    new = written["configurable"]["checkpoint_id"]
    second = rewrite.run("step C invoke", instead={"<new_id>": new})
    assert "samosa" in second["joke"]
    first = rewrite["workflow"].get_state(history[0].config)
    assert first.values == history[0].values
    assert "pizza" in first.values["joke"]
