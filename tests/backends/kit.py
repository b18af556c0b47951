"""What the tests of SQLite share: a graph of many steps, and Python processes beside this one."""

from __future__ import annotations

import operator
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Timer
from typing import IO, Annotated, Any, Final, TypedDict

from durable_graph import END, START, StateGraph
from durable_graph.graph.compiled import CompiledGraph
from durable_graph.saver import Saver
from durable_graph.types import RunnableConfig

__all__ = ["TORTURE", "Child", "child", "counting", "result_of", "thread"]

TORTURE: Final = bool(os.environ.get("DURABLE_GRAPH_TORTURE"))

_ROOT: Final = Path(__file__).parents[2]
_IMPORTED: Final = (_ROOT, _ROOT / "backends")  # what a child imports is what this process does


class Items(TypedDict, total=False):
    """What a counting graph collects."""

    items: Annotated[list[str], operator.add]


def counting(saver: Saver | None, steps: int, *, size: int = 10) -> CompiledGraph:
    """A graph whose one node runs so many times, each adding an item of `size` characters."""

    async def step(state: Items) -> Items:
        number = len(state["items"])
        return {"items": [f"{number}:".ljust(size, "x")]}

    def over(state: Items) -> bool:
        return len(state["items"]) > steps

    graph = StateGraph(Items).add_node("step", step).add_edge(START, "step")
    return graph.add_conditional_edges("step", over, {True: END, False: "step"}).compile(saver)


def result_of(steps: int, *, size: int = 10) -> dict[str, list[str]]:
    """What a counting graph returns for the input ``{"items": ["begin"]}``."""
    return {"items": ["begin", *(f"{n}:".ljust(size, "x") for n in range(1, steps + 1))]}


def thread(name: str, steps: int = 100) -> RunnableConfig:
    """A config that lets a counting graph of so many steps finish."""
    return {"configurable": {"thread_id": name}, "recursion_limit": steps + 10}


class Child:
    """A Python process beside this one, which is spoken to in lines."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def hear(self) -> str:
        """Its next line; empty once it has ended."""
        return _pipe(self.process.stdout).readline().strip()

    def expect(self, line: str) -> None:
        """See that its next line is this one."""
        heard = self.hear()
        if heard != line:
            self.process.kill()
            raise AssertionError(f"{line!r} expected, {heard!r} heard: {self.errors()}")

    def tell(self, line: str = "") -> None:
        """Send it a line."""
        pipe = _pipe(self.process.stdin)
        pipe.write(line + "\n")
        pipe.flush()

    def end(self, timeout: float = 30.0) -> str:
        """Wait for its end, which must be a good one; returns what it said last."""
        # Not `communicate`, which does not see what was read together with the line before.
        last = Timer(timeout, self.process.kill)
        last.start()
        try:
            _pipe(self.process.stdin).close()
            output, errors = _pipe(self.process.stdout).read(), self.errors()
            assert self.process.wait() == 0, errors
        finally:
            last.cancel()
        return output

    def errors(self) -> str:
        """What it said on its standard error; call it when it has ended."""
        return _pipe(self.process.stderr).read()


@contextmanager
def child(
    script: str | Path,
    *arguments: object,
    environment: Mapping[str, str] | None = None,
    **options: Any,
) -> Iterator[Child]:
    """Run a script, given as text or as a file, and see that it is gone afterwards."""
    command = ["-c", script] if isinstance(script, str) else [str(script)]
    process = subprocess.Popen(
        [sys.executable, "-W", "error", *command, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=_ROOT,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(map(str, _IMPORTED)),
            **(environment or {}),
        },
        **options,
    )
    try:
        yield Child(process)
    finally:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout, process.stderr):
            with suppress(BrokenPipeError):
                _pipe(pipe).close()


def _pipe(pipe: IO[str] | None) -> IO[str]:
    assert pipe is not None
    return pipe
