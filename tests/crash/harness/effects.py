"""What nodes did and what clients saw, on files that no crash of theirs takes back."""

from __future__ import annotations

import contextlib
import json
import os
import threading
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

from durable_graph import Runtime

__all__ = ["Ack", "AckFile", "AckKind", "Effect", "EffectFile"]

AckKind: TypeAlias = Literal["task", "handler", "checkpoint", "returned"]


@dataclass(frozen=True, slots=True)
class Effect:
    """Beginning or end of one execution of a node.

    Attributes:
        what: which of the two.
        key: the idempotency key.
        task: the task's id.
        node: the node.
        step: the superstep.
        attempt: which attempt.
        pid: the process.
        thread: the thread of the process.
        at: where its line begins in the file; filled in on reading.
    """

    what: Literal["start", "end"]
    key: str
    task: str
    node: str
    step: int
    attempt: int
    pid: int
    thread: int
    at: int = -1


@dataclass(frozen=True, slots=True)
class Ack:
    """Something a client was told to be durable.

    Attributes:
        kind: "task": a task's result; "handler": an error handler's; "checkpoint": a
            checkpoint; "returned": a call's end.
        id: of the task or the checkpoint.
        cursor: where the log has it.
        effects: how long the effect file was when the client saw it.
    """

    kind: AckKind
    id: str
    cursor: str | None
    effects: int


class _Lines:
    """A file of JSON lines, each of them written in one go at the file's end."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: int | None = None
        self._pid = 0

    def add(self, line: dict[str, Any]) -> None:
        if self._file is None or self._pid != os.getpid():
            self._file = os.open(self.path, os.O_APPEND | os.O_CREAT | os.O_WRONLY, 0o666)
            self._pid = os.getpid()
        os.write(self._file, json.dumps(line).encode() + b"\n")

    def close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def size(self) -> int:
        try:
            return self.path.stat().st_size
        except FileNotFoundError:
            return 0

    def lines(self) -> Iterator[tuple[int, dict[str, Any]]]:
        if not self.path.exists():
            return
        at = 0
        for line in self.path.read_bytes().splitlines(keepends=True):
            yield at, json.loads(line)
            at += len(line)


class EffectFile(_Lines):
    """What nodes did, as they did it."""

    @contextlib.contextmanager
    def of(self, runtime: Runtime) -> Iterator[None]:
        """The body of one execution of a node: a line before it, and one after it if it ends."""
        self._note("start", runtime)
        yield
        self._note("end", runtime)

    def read(self) -> list[Effect]:
        """All of them, in the order in which they happened."""
        return [Effect(**line, at=at) for at, line in self.lines()]

    def _note(self, what: Literal["start", "end"], runtime: Runtime) -> None:
        effect = Effect(
            what=what,
            key=runtime.idempotency_key,
            task=runtime.task_id,
            node=runtime.node,
            step=runtime.step,
            attempt=runtime.attempt,
            pid=os.getpid(),
            thread=threading.get_ident(),
        )
        line = asdict(effect)
        del line["at"]
        self.add(line)


class AckFile(_Lines):
    """What a client saw, written down by it before it does anything else.

    Args:
        path: the file.
        effects: what the nodes of its graph do.
    """

    def __init__(self, path: Path, effects: EffectFile) -> None:
        super().__init__(path)
        self._effects = effects

    def note(self, kind: AckKind, name: str, cursor: str | None) -> None:
        """The client has just seen this."""
        self.add(asdict(Ack(kind, name, cursor, self._effects.size())))

    def read(self) -> list[Ack]:
        """All of them, in order."""
        return [Ack(**line) for _, line in self.lines()]
