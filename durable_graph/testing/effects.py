"""What nodes really did to the outside world, kept where no crash takes it back."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final, NamedTuple

from durable_graph.engine.tasks.context import TaskContext, running_task
from durable_graph.testing.crash import Crash

__all__ = ["Effect", "EffectLog", "life"]

life: Final[ContextVar[object]] = ContextVar("durable_graph_life")
"""Which life of the program code belongs to, where one process plays several."""


class _Meant(NamedTuple):
    """What a node or one of its steps means to do once, however often it runs."""

    place: str
    name: str
    nth: int


@dataclass(frozen=True, slots=True)
class Effect:
    """One call of `EffectLog.add`.

    Attributes:
        name: what was to be done.
        node: the node that wanted it.
        task: its task: the same for every execution of it.
        place: the idempotency key that it runs under: that of its task, or of a step within it.
        thread: the thread; ``None`` for a run that is not stored.
        step: the superstep.
        nth: which one by this name it is in this execution of the node, from 0.
        key: the key it was sent with.
        took_place: whether it happened; not if its key was known already.
    """

    name: str
    node: str
    task: str
    place: str
    thread: str | None
    step: int
    nth: int
    key: str | None
    took_place: bool

    @property
    def meant(self) -> _Meant:
        """What it has in common with what other executions of its task do in its place."""
        return _Meant(self.place, self.name, self.nth)


class EffectLog:
    """Stands for a service outside, such as one that takes payments, and remembers its calls.

    Nodes call `add` where they would call the service. As a good service does, it takes each key
    once, so an effect with a proper key happens once, however often its node runs. What has
    happened more often, or not at all, is told by `check`.

    Args:
        service: its name, for messages.
    """

    def __init__(self, service: str = "effects") -> None:
        self.service = service
        self._lock = threading.Lock()
        self._calls: list[Effect] = []
        self._said: dict[TaskContext, Counter[str]] = {}  # by each execution
        self._keys: set[str] = set()
        self._life: object = None

    def __repr__(self) -> str:
        return f"<EffectLog {self.service!r}: {len(self.happened)} of {len(self._calls)} happened>"

    @property
    def calls(self) -> Sequence[Effect]:
        """Every call, in order, also those that changed nothing."""
        return tuple(self._calls)

    @property
    def happened(self) -> Sequence[str]:
        """The names of the effects that took place, in order."""
        return [effect.name for effect in self._calls if effect.took_place]

    def add(self, name: str, *, key: str | None = None) -> bool:
        """Have an effect; to be called by a node.

        Args:
            name: what is done, such as "charge order 17".
            key: what the service tells a repeated call by. Each effect of this service needs one
                of its own: `Runtime.idempotency_key`, if its node has one effect here, else that
                with something added.

        Returns:
            Whether it took place; not if the key was known.

        Raises:
            RuntimeError: called outside a node.
        """
        task = running_task("EffectLog.add()")
        with self._lock:
            if self._life is not None and life.get(None) is not self._life:
                raise Crash("What belongs to a process that is dead has no effect.")
            said = self._said.setdefault(task, Counter())
            nth, said[name] = said[name], said[name] + 1
            took_place = key is None or key not in self._keys
            if key is not None:
                self._keys.add(key)
            due = task.due
            self._calls.append(
                Effect(
                    name=name,
                    node=due.node,
                    task=due.id,
                    place=task.idempotency_key,
                    thread=task.host.thread,
                    step=due.step + 1,
                    nth=nth,
                    key=key,
                    took_place=took_place,
                )
            )
        return took_place

    def duplicates(self) -> list[str]:
        """A line for each effect that happened more than once."""
        times: dict[_Meant, list[Effect]] = {}
        for effect in self._calls:
            if effect.took_place:
                times.setdefault(effect.meant, []).append(effect)
        return [_duplicate(effects) for effects in times.values() if len(effects) > 1]

    def swallowed(self) -> list[str]:
        """A line for each effect that never happened, since another one had used its key."""
        took_place = {effect.meant for effect in self._calls if effect.took_place}
        lost = {call.meant: call for call in self._calls if call.meant not in took_place}
        return [
            f"{call.name!r} of node {call.node!r} never happened: its key was used for another "
            f"effect. Give every effect of a service a key of its own."
            for call in lost.values()
        ]

    def check(self, expected: Iterable[str] | None = None) -> None:
        """See that everything happened once.

        Args:
            expected: the names of the effects there must have been, in any order; without them
                only what was tried is looked at.

        Raises:
            AssertionError: something happened twice, or not at all; a line for each.
        """
        wrong = [*self.duplicates(), *self.swallowed()]
        if expected is not None:
            should, did = Counter(expected), Counter(self.happened)
            wrong += [f"{name!r} is missing." for name in (should - did).elements()]
            wrong += [f"{name!r} was not expected." for name in did if name not in should]
        if wrong:
            raise AssertionError("\n  ".join([f"{self.service}:", *wrong]))

    def begin(self, token: object = None) -> None:
        """Forget everything, and take calls of one life only.

        Args:
            token: the value of `life` where calls are taken from; ``None``: from everywhere.
        """
        with self._lock:
            self._life = token
            self._calls, self._said, self._keys = [], {}, set()

    def go_on(self, token: object) -> None:
        """Take calls of another life from now on: the one before is over. See `begin`."""
        with self._lock:
            self._life = token


def _duplicate(effects: Sequence[Effect]) -> str:
    first, keys = effects[0], {effect.key for effect in effects}
    if first.key is None:
        advice = "Its node can run again, so send a key with it: key=runtime.idempotency_key."
    else:
        advice = (
            f"It was sent under {len(keys)} keys. A key must be the same whenever the node runs "
            f"again: make it of runtime.idempotency_key."
        )
    return f"{first.name!r} of node {first.node!r} happened {len(effects)} times. {advice}"
