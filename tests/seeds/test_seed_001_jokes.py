"""The joke notebook: persistence, threads, history, time travel and updates, cell by cell."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import pytest

from durable_graph import StateSnapshot
from tests.seeds.notebook import Notebook, SaverMaker

BUILD = ("imports", "model", "state", "generate_joke", "generate_explanation", "graph")
BEFORE_THE_EXPLANATION = "1f06f8ae-b20d-6bcb-8001-8c40dfcef62e"
OF_ANOTHER_SESSION = "1f06cc6e-7232-6cb1-8000-f71609e6cec5"
OF_THE_UPDATE = "1f06f8bd-1120-6842-8000-76b96262123a"


@pytest.fixture
def jokes(notebook: Callable[..., Notebook], make_saver: SaverMaker) -> Notebook:
    """The notebook after its first run of the graph."""
    opened = notebook("seed_001_jokes", InMemorySaver=make_saver)
    opened.run(*BUILD, "invoke")
    return opened


def names(snapshot: StateSnapshot) -> tuple[str | None, str | None]:
    """A checkpoint's id and its parent's."""
    parent = (snapshot.parent_config or {}).get("configurable", {}).get("checkpoint_id")
    return snapshot.checkpoint_id, parent


def test_the_model_answers(notebook: Callable[..., Notebook]) -> None:
    """The stand-in model answers as the notebook's model does: with a content."""
    assert notebook("seed_001_jokes").run("imports", "model").startswith("hello")


def test_a_run_returns_all_keys_of_the_state(jokes: Notebook) -> None:
    """`invoke` returns topic, joke and explanation."""
    final = jokes.run("invoke")
    assert final["topic"] == "ai"
    assert "joke on topic - ai" in final["joke"]
    assert final["joke"] in final["explanation"]


def test_the_final_state_has_the_printed_fields(jokes: Notebook) -> None:
    """A snapshot of a finished thread: nothing next, source loop, step 2, a parent, no tasks."""
    final = jokes.run("final state")
    assert set(final.values) == {"topic", "joke", "explanation"}
    assert final.next == ()
    assert final.config == {
        "configurable": {
            "thread_id": "1",
            "checkpoint_ns": "",
            "checkpoint_id": final.checkpoint_id,
        }
    }
    assert final.metadata.items() >= {"source": "loop", "step": 2, "parents": {}}.items()
    assert datetime.fromisoformat(final.created_at).utcoffset() is not None
    assert final.parent_config["configurable"].keys() == final.config["configurable"].keys()
    assert final.tasks == ()
    assert final.interrupts == ()


def test_the_history_has_four_entries(jokes: Notebook) -> None:
    """Newest first: the end, before the explanation, before the joke, the input."""
    history = jokes.run("history")
    assert len(history) == 4
    assert [s.next for s in history] == [
        (),
        ("generate_explanation",),
        ("generate_joke",),
        ("__start__",),
    ]
    assert [s.metadata["step"] for s in history] == [2, 1, 0, -1]
    assert [s.metadata["source"] for s in history] == ["loop", "loop", "loop", "input"]
    assert [set(s.values) for s in history] == [
        {"topic", "joke", "explanation"},
        {"topic", "joke"},
        {"topic"},
        set(),
    ]
    ids = [names(s) for s in history]
    assert [parent for _, parent in ids] == [*(own for own, _ in ids[1:]), None]


def test_a_second_thread_leaves_the_first_as_it_is(jokes: Notebook) -> None:
    """Running thread 2 changes nothing in the history of thread 1."""
    before = jokes.run("history")
    assert jokes.run("second thread") == before


def test_the_state_at_a_checkpoint_shows_its_task_and_the_tasks_result(jokes: Notebook) -> None:
    """A snapshot by id: the values then, and the task that ran next with its result.

    The notebook has the id from its own history; here it is the same checkpoint of this run.
    """
    history = jokes.run("history")
    instead = {BEFORE_THE_EXPLANATION: history[1].checkpoint_id}
    snapshot = jokes.run("state at a checkpoint", instead=instead)
    assert set(snapshot.values) == {"topic", "joke"}
    assert snapshot.next == ("generate_explanation",)
    assert snapshot.metadata.items() >= {"source": "loop", "step": 1, "parents": {}}.items()
    assert names(snapshot) == (history[1].checkpoint_id, history[2].checkpoint_id)
    (task,) = snapshot.tasks
    assert task.name == "generate_explanation"
    assert task.path == ("__pregel_pull", "generate_explanation")
    assert task[3:6] == (None, (), None)  # no error, no interrupts, no subgraph's state
    assert task.result == {"explanation": history[0].values["explanation"]}


def test_going_on_from_a_checkpoint_runs_what_follows_once_more(jokes: Notebook) -> None:
    """The joke stays, its explanation is generated anew, and the history grows."""
    history = jokes.run("history")
    instead = {BEFORE_THE_EXPLANATION: history[1].checkpoint_id}
    again = jokes.run("replay", instead=instead)
    first = history[0].values
    assert (again["topic"], again["joke"]) == (first["topic"], first["joke"])
    assert again["explanation"] != first["explanation"]
    after = jokes.run("history after the replay")
    assert after[0].values == again
    assert after[-4:] == history  # nothing of the first run has changed


def test_an_update_at_a_checkpoint_is_a_checkpoint_of_its_own(jokes: Notebook) -> None:
    """`update_state` with an id returns a new id; the named one is its parent.

    The notebook slips here: the id it names is from another session. Here it is that of the
    checkpoint before the joke, which is what the notebook's output shows.
    """
    history = jokes.run("history")
    before_the_joke = history[2]
    instead = {OF_ANOTHER_SESSION: before_the_joke.checkpoint_id}
    written = jokes.run("update", instead=instead)["configurable"]
    assert written.keys() == {"thread_id", "checkpoint_ns", "checkpoint_id"}
    assert (written["thread_id"], written["checkpoint_ns"]) == ("1", "")
    after = jokes.run("history after the update")
    assert after[1:] == history
    edited = after[0]
    assert names(edited) == (written["checkpoint_id"], before_the_joke.checkpoint_id)
    assert edited.values == {"topic": "samosa"}
    assert edited.next == ("generate_joke",)
    assert edited.metadata["source"] == "update"
    assert edited.metadata["step"] == before_the_joke.metadata["step"] + 1
    (task,) = edited.tasks
    assert (task.name, task.error, task.result) == ("generate_joke", None, None)


def test_a_run_from_the_update_tells_about_samosas(jokes: Notebook) -> None:
    """Going on at the id that the update returned: another topic, joke and explanation."""
    history = jokes.run("history")
    written = jokes.run("update", instead={OF_ANOTHER_SESSION: history[2].checkpoint_id})
    new = written["configurable"]["checkpoint_id"]
    final = jokes.run("invoke for samosa", instead={OF_THE_UPDATE: new})
    assert final["topic"] == "samosa"
    assert "samosa" in final["joke"]
    assert final["joke"] in final["explanation"]
    after = jokes.run("history after samosa")
    assert after[0].values == final
    assert [s.next for s in after[:2]] == [(), ("generate_explanation",)]
    assert after[-4:] == history  # the first branch is as it was


def test_a_named_checkpoint_of_another_session_is_refused(jokes: Notebook) -> None:
    """What the notebook's slip does when run as it is: a clear error, and nothing is written."""
    before = jokes.run("history")
    with pytest.raises(LookupError, match=f"no checkpoint '{OF_ANOTHER_SESSION}'"):
        jokes.run("update")
    assert jokes.run("history") == before
