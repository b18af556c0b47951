"""One saver under several event loops, loops that end early, and processes that fork."""

from __future__ import annotations

import asyncio
import json
import threading
from pathlib import Path
from typing import Any, Final

import pytest

from durable_graph_sqlite import SqliteSaver
from tests.backends.kit import child, counting, result_of, thread


def test_two_loops_in_two_threads_use_one_saver(tmp_path: Path) -> None:
    """A saver serves event loops in several threads at the same time, for runs and reads alike."""
    saver = SqliteSaver(tmp_path / "threads.db")
    barrier = threading.Barrier(3)
    told: dict[int, Any] = {}

    async def work(number: int) -> list[Any]:
        graph = counting(saver, 15)
        barrier.wait()
        answers = []
        for turn in range(4):
            name = f"{number} {turn}"
            answers.append(await graph.ainvoke({"items": ["begin"]}, thread(name)))
            answers.append((await graph.aget_state(thread(name))).values)
            # What another loop has written, as far as it is there.
            other = (await graph.aget_state(thread(f"{1 - number} {turn}"))).values
            assert other == (result_of(len(other["items"]) - 1) if other else {})
        return answers

    def run(number: int) -> None:
        told[number] = asyncio.run(work(number))

    threads = [threading.Thread(target=run, args=(number,)) for number in range(2)]
    for each in threads:
        each.start()
    barrier.wait()
    for each in threads:
        each.join(30)
    assert told == {number: [result_of(15)] * 8 for number in range(2)}
    asyncio.run(saver.aclose())


def test_loops_one_after_the_other_use_one_saver(tmp_path: Path) -> None:
    """A saver that a loop has used is used by the next loop, as scripts with several
    `asyncio.run` do; the synchronous calls are just another loop."""
    saver = SqliteSaver(tmp_path / "threads.db")
    graph = counting(saver, 3)
    for number in range(3):
        assert asyncio.run(graph.ainvoke({"items": ["begin"]}, thread(str(number)))) == result_of(3)
    assert graph.get_state(thread("1")).values == result_of(3)
    asyncio.run(saver.aclose())


# Loops that are closed while the connection's thread works for them.
_CLOSED_LOOP: Final = """
import asyncio, gc, sqlite3, sys, threading
from durable_graph.testing.contract_kit import Log, commit, expect_log, results, write
from durable_graph_sqlite.backend import SqliteBackend

begun, go_on = threading.Event(), threading.Event()

def slow(db):
    begun.set()
    go_on.wait(30)

backend = SqliteBackend(sys.argv[1])
log = Log()
asyncio.run(write(backend, log, commit("c1")))

for _ in range(3):
    loop = asyncio.new_event_loop()
    for connection in (backend._writer, backend._reader):
        loop.create_task(connection.call(slow, writes=True))
    append = log.next(results())
    loop.create_task(backend.append([append]))
    loop.call_soon(loop.stop)
    loop.run_forever()
    begun.wait(30)
    for task in asyncio.all_tasks(loop):
        task._log_destroy_pending = False
    loop.close()
    go_on.set()
    asyncio.run(backend.append([append]))  # behind what the closed loop asked for
    log.accept(append)
    asyncio.run(expect_log(backend, log))
    begun.clear()
    go_on.clear()
    gc.collect()
print("went on", flush=True)
"""


def test_a_loop_that_is_closed_does_not_kill_the_connection(tmp_path: Path) -> None:
    """Of a loop that was closed in the middle of a statement, the statement is finished, the next
    loop is served, and the interpreter exits."""
    with child(_CLOSED_LOOP, tmp_path / "threads.db") as script:
        assert script.end(timeout=20) == "went on\n"


_UNCLOSED: Final = """
import asyncio, sys
from durable_graph_sqlite import SqliteSaver
from tests.backends.kit import counting, thread

saver = SqliteSaver(sys.argv[1])
graph = counting(saver, 3)
if sys.argv[2] == "async":
    asyncio.run(graph.ainvoke({"items": ["begin"]}, thread("a")))
elif sys.argv[2] == "sync":
    graph.invoke({"items": ["begin"]}, thread("a"))
elif sys.argv[2] == "dropped":
    asyncio.run(graph.ainvoke({"items": ["begin"]}, thread("a")))
    del graph, saver
elif sys.argv[2] == "in the middle":
    async def main():
        stream = graph.astream({"items": ["begin"]}, thread("a"))
        await anext(stream)
        print("done", flush=True)
        sys.exit(0)
    asyncio.run(main())
print("done", flush=True)
"""


@pytest.mark.parametrize("way", ["never used", "async", "sync", "dropped", "in the middle"])
def test_a_saver_may_be_left_open(tmp_path: Path, way: str) -> None:
    """A program that never closes its saver exits by itself with code 0 and without a warning,
    even where every warning is an error; the next program reads what was acknowledged."""
    path = tmp_path / "threads.db"
    with child(_UNCLOSED, path, way) as script:
        output, errors = script.process.communicate(timeout=20)
    assert (script.process.returncode, output, errors) == (0, "done\n", "")
    if way in ("async", "sync", "dropped"):
        with SqliteSaver(path) as saver:
            assert counting(saver, 3).get_state(thread("a")).values == result_of(3)


_FORKED: Final = """
import asyncio, json, os, sys
from durable_graph.errors import StorageClosedError
from durable_graph_sqlite import SqliteSaver
from durable_graph_sqlite.backend import SqliteBackend
from durable_graph.testing.contract_kit import Log, commit, mark, write
from tests.backends.kit import counting, result_of, thread

path = sys.argv[1]
saver = SqliteSaver(path)
graph = counting(saver, 3)
asyncio.run(graph.ainvoke({"items": ["begin"]}, thread("before")))

def tell(call):
    try:
        asyncio.run(call())
    except StorageClosedError as error:
        return "forked" in str(error)
    return "no error"

pid = os.fork()
if pid == 0:
    told = {
        "run": tell(lambda: graph.ainvoke({"items": ["begin"]}, thread("child"))),
        "state": tell(lambda: graph.aget_state(thread("before"))),
        "read": tell(lambda: saver.backend.read(Log("before").key)),
        "append": tell(lambda: saver.backend.append([Log("child").next(commit("c1"))])),
        "beat": tell(lambda: saver.backend.beat(None)),
    }
    asyncio.run(saver.backend.aclose())
    asyncio.run(saver.aclose())
    own = SqliteSaver(path)
    own_graph = counting(own, 3)
    told["own"] = own_graph.invoke({"items": ["begin"]}, thread("own")) == result_of(3)
    if sys.argv[2] == "closes":
        own.close()
    print(json.dumps(told), flush=True)
    sys.exit(0)  # an ordinary end, with all that Python does then
_, status = os.waitpid(pid, 0)
again = asyncio.run(graph.ainvoke({"items": ["begin"]}, thread("after")))
print(json.dumps({
    "status": status,
    "parent": again == result_of(3),
    "child": asyncio.run(graph.aget_state(thread("own"))).values == result_of(3),
    "wrong": len(asyncio.run(saver.averify("after")) + asyncio.run(saver.averify("own"))),
}), flush=True)
"""


@pytest.mark.parametrize("way", ["closes", "leaves open"])
def test_a_forked_child_cannot_use_the_saver(tmp_path: Path, way: str) -> None:
    """In a forked child each use of the parent's saver raises `StorageClosedError`; the child can
    make one of its own; the parent goes on, also after the child has ended."""
    with child(_FORKED, tmp_path / "threads.db", way) as script:
        lines = [json.loads(line) for line in script.end().splitlines()]
    calls = ("run", "state", "read", "append", "beat", "own")
    assert lines == [
        dict.fromkeys(calls, True),
        {"status": 0, "parent": True, "child": True, "wrong": 0},
    ]
