"""The technical specification: its coding sequence, step by step, and time travel."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from durable_graph import StateSnapshot
from durable_graph.errors import EmptyInputError
from tests.seeds.notebook import Notebook, SaverMaker

BUILD = ("step 1", "step 2", "step 3", "step 4", "step 5")
PIZZA = {
    "topic": "Pizza",
    "joke": "A pizza joke about Pizza.",
    "explanation": "Explanation for joke: A pizza joke about Pizza.",
}


@pytest.fixture
def specification(notebook: Callable[..., Notebook], make_saver: SaverMaker) -> Notebook:
    """The specification after its step 5."""
    opened = notebook("seed_002_specification", MemorySaver=make_saver)
    opened.run(*BUILD)
    return opened


def stored(book: Notebook) -> list[StateSnapshot]:
    """The thread's history, newest first."""
    return list(book["workflow"].get_state_history(book["config"]))


def test_a_run_leaves_a_checkpoint_for_start_and_every_node(specification: Notebook) -> None:
    """Steps 6, 5.1 and 5.2: START, generate_joke, generate_explanation, END."""
    assert specification.run("step 6") == PIZZA
    specification.run("5.1 final state", "5.2 full history")
    assert specification["final_state"].values == PIZZA
    assert [s.next for s in reversed(specification["history"])] == [
        ("__start__",),
        ("generate_joke",),
        ("generate_explanation",),
        (),
    ]


def test_nothing_can_be_resumed_on_a_thread_that_never_ran(specification: Notebook) -> None:
    """Section 6 on a thread without a run: a clear error, not an empty state."""
    with pytest.raises(EmptyInputError, match="fault_demo"):
        specification.run("6 fault tolerance")


def test_a_checkpoint_is_identified_and_replayed(specification: Notebook) -> None:
    """7.1 and 7.2: ``hist[1].checkpoint_id`` is the one before the explanation."""
    specification.run("step 6", "7.1 identify checkpoint")
    assert specification["hist"][1].next == ("generate_explanation",)
    assert specification["checkpoint_id"] == specification["hist"][1].checkpoint_id
    assert specification.run("7.2 replay") == PIZZA
    assert stored(specification)[-4:] == specification["hist"]


def test_the_fork_is_gone_on_with_at_the_id_that_the_update_returned(
    specification: Notebook,
) -> None:
    """7.3: ``update_state(..., checkpoint_id=...)``, then on from there.

    The specification slips here: it goes on at the old id, which is the unedited checkpoint.
    What was meant is the id of the update; so that one is used.
    """
    specification.run("step 6", "7.1 identify checkpoint")
    returned = specification.run("7.3 mutation")
    specification.names["checkpoint_id"] = returned["configurable"]["checkpoint_id"]
    forked = specification.run("7.3 resume")
    assert forked == {**PIZZA, "topic": "Samosa"}
    history = stored(specification)
    assert history[0].values == forked
    assert history[-4:] == specification["hist"]  # Pizza and Samosa have diverged


def test_the_old_id_means_the_old_checkpoint_also_after_an_update_on_it(
    specification: Notebook,
) -> None:
    """7.3 as it is written: the named checkpoint is unedited, so its branch is about pizza."""
    specification.run("step 6", "7.1 identify checkpoint", "7.3 mutation")
    assert specification.run("7.3 resume") == PIZZA


def test_a_fork_before_the_joke_tells_another_joke(specification: Notebook) -> None:
    """7.3 at the checkpoint before the joke: the whole branch is about samosas."""
    specification.run("step 6", "7.1 identify checkpoint")
    specification.names["checkpoint_id"] = specification["hist"][2].checkpoint_id
    returned = specification.run("7.3 mutation")
    specification.names["checkpoint_id"] = returned["configurable"]["checkpoint_id"]
    assert specification.run("7.3 resume") == {
        "topic": "Samosa",
        "joke": "A pizza joke about Samosa.",
        "explanation": "Explanation for joke: A pizza joke about Samosa.",
    }


def test_a_checkpointer_and_a_thread_id_activate_persistence(
    notebook: Callable[..., Notebook],
) -> None:
    """The answer to "how is persistence activated in code?"."""
    book = notebook("seed_002_specification")
    book.run(*BUILD)
    final: dict[str, Any] = book.run("how persistence is activated")
    assert final == PIZZA
    config = {"configurable": {"thread_id": "1"}}
    assert book["workflow"].get_state(config).values == PIZZA
