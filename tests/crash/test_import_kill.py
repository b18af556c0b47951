"""A process is killed while it imports a thread."""

from __future__ import annotations

import asyncio
import signal
from contextlib import suppress
from pathlib import Path

import pytest

from durable_graph import InMemorySaver, interrupt
from durable_graph.errors import ThreadExistsError
from durable_graph.log.records import Answers, encode_body
from durable_graph.ports.backend import Message
from durable_graph_sqlite import SqliteSaver
from tests.backends.kit import child
from tests.conftest import thread
from tests.runtime.kit import Items, fan

IMPORTS = """
import asyncio, os, pathlib, signal, sys
from durable_graph_sqlite import SqliteSaver

async def main(database, file, die_in, die_at, when):
    async with SqliteSaver(database) as saver:
        whole, calls = getattr(saver.backend, die_in), []
        async def dying(*arguments):
            calls.append(1)
            last = len(calls) == int(die_at)
            if last and when == "before":
                os.kill(os.getpid(), signal.SIGKILL)
            result = await whole(*arguments)
            if last:
                os.kill(os.getpid(), signal.SIGKILL)
            return result
        setattr(saver.backend, die_in, dying)
        await saver.threads.import_(pathlib.Path(file).read_bytes(), by="root")

asyncio.run(main(*sys.argv[1:]))
"""


async def ask(state: Items) -> Items:
    return {"items": [interrupt("?")]}


@pytest.mark.parametrize(
    ("die_in", "die_at", "when"),
    [
        ("append", 1, "before"),
        ("append", 1, "after"),
        ("post", 1, "before"),
        ("post", 1, "after"),
        ("post", 2, "after"),
    ],
)
async def test_the_next_call_brings_what_is_missing(
    tmp_path: Path, die_in: str, die_at: int, when: str
) -> None:
    """Nothing is there, or a thread that verifies and that the same call completes."""
    async with InMemorySaver() as source:
        made = fan(("ask", ask), ("too", ask), saver=source)
        await made.ainvoke({}, thread("t"))
        for question in (await made.aget_state(thread("t"))).interrupts:
            body = encode_body(Answers({question.id: b'"waited"'}))
            answer = Message(f"of {question.id}", "answer", body, "ann", source.clock.time())
            await source.backend.post(source.key("t"), answer)
        data = await source.threads.export("t")
    file, database = tmp_path / "file", tmp_path / "threads.db"
    file.write_bytes(data)
    with child(IMPORTS, database, file, die_in, die_at, when) as dying:
        assert await asyncio.to_thread(dying.process.wait, 30) == -signal.SIGKILL
    async with SqliteSaver(database) as saver:
        there = [info.thread_id async for info in saver.threads.list()]
        assert there == ([] if (die_in, when) == ("append", "before") else ["t"])
        assert not there or await saver.threads.verify("t") == []
        with suppress(ThreadExistsError):  # nothing was missing
            await saver.threads.import_(data, by="root")
        again = fan(("ask", ask), ("too", ask), saver=saver)
        assert (await again.ainvoke(None, thread("t")))["items"] == ["waited", "waited"]
