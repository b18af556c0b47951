"""Ctrl-C in a script that calls a graph synchronously."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pytest

BEGINNING = """
import asyncio, signal, sys, threading
# A program that is started in the background is born deaf to it.
signal.signal(signal.SIGINT, signal.default_int_handler)
from typing import TypedDict
from durable_graph import START, StateGraph
from durable_graph_sqlite import SqliteSaver

class State(TypedDict, total=False):
    first: str
    second: str

calls = []

def first(state: State) -> State:
    return {"first": "done"}

def block(state: State) -> State:
    calls.append(1)
    if len(calls) == 1 and "again" not in sys.argv:
        print("in", flush=True)
        threading.Event().wait()
    return {"second": "done"}

async def wait(state: State) -> State:
    calls.append(1)
    if len(calls) == 1 and "again" not in sys.argv:
        print("in", flush=True)
        await asyncio.get_running_loop().create_future()
    return {"second": "done"}

saver = SqliteSaver(sys.argv[1])
graph = StateGraph(State).add_sequence([("first", first), ("second", globals()[sys.argv[2]])])
graph = graph.add_edge(START, "first").compile(saver)
config = {"configurable": {"thread_id": "thread"}}
"""
GO_ON = """
try:
    graph.invoke({}, config)
except KeyboardInterrupt:
    print("interrupted", flush=True)
print(graph.get_state(config).next)
print([(found.status, found.reason) for found in saver.list_threads()])
print(graph.invoke(None, config))
"""
WATCH = """
try:
    for part in graph.stream({}, config):
        print(part, flush=True)
except KeyboardInterrupt:
    print("interrupted", flush=True)
print(graph.get_state(config).next)
print(graph.invoke(None, config))
"""
LEAVE = """
graph.invoke({}, config)
"""
AGAIN = """
print(graph.get_state(config).next)
print(graph.invoke(None, config))
"""


@contextmanager
def script(text: str, *arguments: object) -> Iterator[tuple[subprocess.Popen[str], IO[str]]]:
    """A program, and what it prints; it does not outlive the block."""
    command = [sys.executable, "-c", BEGINNING + text, *map(str, arguments)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as program:
        assert program.stdout is not None
        try:
            yield program, program.stdout
        finally:
            program.kill()


def finish(program: subprocess.Popen[str]) -> tuple[list[str], str, float]:
    """What a program still prints, its errors, and how long it takes to exit."""
    began = time.monotonic()
    printed, errors = program.communicate(timeout=30)
    return printed.splitlines(), errors, time.monotonic() - began


@pytest.mark.parametrize("node", ["block", "wait"])
def test_ctrl_c_stops_the_call_and_the_script_can_go_on(node: str, tmp_path: Path) -> None:
    """KeyboardInterrupt is raised where the call was made; the thread goes on at that node."""
    with script(GO_ON, tmp_path / "threads.db", node) as (program, printed):
        assert printed.readline() == "in\n"
        program.send_signal(signal.SIGINT)
        lines, errors, _ = finish(program)
        assert lines == [
            "interrupted",
            "('second',)",
            "[('stopped', 'cancelled')]",
            "{'first': 'done', 'second': 'done'}",
        ], errors
        assert (program.returncode, errors) == (0, "")


@pytest.mark.parametrize("node", ["block", "wait"])
def test_ctrl_c_stops_a_stream_and_the_script_can_go_on(node: str, tmp_path: Path) -> None:
    """The same while the script waits for the next event."""
    with script(WATCH, tmp_path / "threads.db", node) as (program, printed):
        assert printed.readline() == "{'first': {'first': 'done'}}\n"
        assert printed.readline() == "in\n"
        program.send_signal(signal.SIGINT)
        lines, errors, _ = finish(program)
        assert lines == ["interrupted", "('second',)", "{'first': 'done', 'second': 'done'}"]
        assert (program.returncode, errors) == (0, "")


@pytest.mark.parametrize("node", ["block", "wait"])
def test_ctrl_c_ends_a_script_that_does_not_handle_it(node: str, tmp_path: Path) -> None:
    """The process exits at once though a node blocks, and another one goes on at that node."""
    path = tmp_path / "threads.db"
    with script(LEAVE, path, node) as (program, printed):
        assert printed.readline() == "in\n"
        program.send_signal(signal.SIGINT)
        _, errors, seconds = finish(program)
        assert program.returncode == -signal.SIGINT
        assert errors.rstrip().endswith("KeyboardInterrupt")
        assert seconds < 5
    with script(AGAIN, path, node, "again") as (program, _):
        lines, errors, _ = finish(program)
        assert lines == ["('second',)", "{'first': 'done', 'second': 'done'}"], errors


@pytest.mark.parametrize("node", ["block", "wait"])
def test_pressing_ctrl_c_again_and_again_ends_it_too(node: str, tmp_path: Path) -> None:
    """However impatient the one at the keyboard is, the thread can be gone on with."""
    path = tmp_path / "threads.db"
    with script(LEAVE, path, node) as (program, printed):
        assert printed.readline() == "in\n"
        deadline = time.monotonic() + 10
        while program.poll() is None and time.monotonic() < deadline:
            program.send_signal(signal.SIGINT)
        assert program.wait(10) != 0
    with script(AGAIN, path, node, "again") as (program, _):
        lines, errors, _ = finish(program)
        assert lines == ["('second',)", "{'first': 'done', 'second': 'done'}"], errors
