"""What was encrypted once is decrypted for ever (scenario 45, the other state of encryption)."""

from __future__ import annotations

from durable_graph import Command
from durable_graph.log.records import ThreadKey
from tests.golden.encrypted import FILE, LEFT, brought
from tests.runtime.encryption.kit import WORDS, everything, named
from tests.runtime.kit import history


async def test_an_encrypted_thread_is_read_as_ever() -> None:
    """State, history, question and inbox of the stored thread, and its chain; then it goes on."""
    saver = await brought()
    graph, config = everything(saver), named("thread")
    snapshot = await graph.aget_state(config)
    items = ["word-input", "word-result", "word-step", "word-large" * 1000]
    items += ["word-sent", "word-sent-too"]
    assert snapshot.values == {"items": items, "count": 0}
    assert [question.value for question in snapshot.interrupts] == ["word-question"]
    assert [len(each.values.get("items", ())) for each in await history(graph, config)] == [
        *(6, 4, 1, 0)
    ]
    assert await saver.averify("thread") == []
    reading = await saver.backend.read(ThreadKey("", "thread"))
    assert reading is not None
    assert list(reading.messages) == [LEFT]
    result = await graph.ainvoke(Command(resume="word-answer"), config)
    assert result == {"items": items, "count": 0, "last": "word-answer"}


def test_the_file_is_an_encrypted_one() -> None:
    """Nothing of what it holds can be found in it."""
    data = FILE.read_bytes()
    assert b"begin" in data
    assert not [word for word in WORDS if word.encode() in data]
