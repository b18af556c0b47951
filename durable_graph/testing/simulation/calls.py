"""What the callers in a simulated world do, and what they get to hear."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

__all__ = ["CallRecord", "Ended", "Kind"]

Kind = Literal[
    "input", "go on", "answer", "command", "edit", "state", "history", "delete", "prune", "list"
]

Ended = Literal["returned", "refused", "failed", "unknown", "cancelled", "left", "crashed"]
"""How a call ended for its caller: with a result; with an error that says that nothing was done;
with the error of a node; with one that leaves open what was done; by being cancelled, or left in
the middle of its events; or with its process."""


@dataclass(slots=True)
class CallRecord:
    """One call.

    Attributes:
        id: unique; the run's id, for calls that run a graph.
        kind: what is called.
        thread: which thread.
        worker: by which process.
        begun: when, in virtual time.
        update: what it writes, if it writes something.
        goto: where its command goes.
        node: as which node it edits; ``None`` for the one that ran last.
        checkpoint: the checkpoint it names.
        durability: of its run.
        answers: the answers it gives: each a text of its own.
        keep: how many checkpoints a prune keeps.
        generation: how often the thread had been deleted when it began.
        position: sequence number of the thread's last commit when it began.
        ended: how it ended; ``None`` while it is under way.
        error: with which error.
        value: with which result.
    """

    id: str
    kind: Kind
    thread: str
    worker: str
    begun: float
    update: Mapping[str, Any] | None = None
    goto: tuple[str, ...] = ()
    node: str | None = None
    checkpoint: str | None = None
    durability: str = "sync"
    answers: Mapping[str, Any] = field(default_factory=dict)
    keep: int = 1
    generation: int = 0
    position: int = 0
    ended: Ended | None = None
    error: BaseException | None = None
    value: Any = None

    def __str__(self) -> str:
        parts = [self.id, self.kind, self.thread, self.worker, self.durability]
        if self.checkpoint is not None:
            parts.append(f"at {self.checkpoint[-6:]}")
        if self.update is not None:
            parts.append(f"writes {self.update['log'][0]}")
        if self.node is not None:
            parts.append(f"as {self.node}")
        parts += [*map(str, self.answers.values()), *self.goto]
        return " ".join(parts)
