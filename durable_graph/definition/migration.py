"""Migrations: how threads that an earlier version of a graph has written fit this one.

A change says what has become of something: a node has another name, a key is gone. Given to
``compile(migrations=[...])`` by itself, it applies to threads whose graph had what it is about.
`Migration` groups changes under a condition of their own. They are applied in order, each to what
those before it have made of the thread, so that a list which only ever grows at its end brings
threads of any age up to date.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from durable_graph.definition.description import Described, DescribedKey
from durable_graph.errors import GraphDefinitionError

__all__ = [
    "Change",
    "ConvertKey",
    "ConvertQuestion",
    "ConvertResult",
    "ConvertSend",
    "DropKey",
    "Migration",
    "RenameKey",
    "RenameNode",
    "changes_for",
    "check_migrations",
    "convert_key",
    "convert_question",
    "convert_result",
    "convert_send",
    "drop_key",
    "read_migrations",
    "rename_key",
    "rename_node",
]

Convert: TypeAlias = Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class RenameNode:
    """See `rename_node`."""

    old: str
    new: str

    def applies(self, graph: Described) -> bool:
        """Whether a graph is from before the change."""
        return graph.has_node(self.old) and not graph.has_node(self.new)

    def after(self, graph: Described) -> Described:
        """The graph after the change."""
        return graph.with_node(self.old, self.new)


@dataclass(frozen=True, slots=True)
class RenameKey:
    """See `rename_key`."""

    old: str
    new: str

    def applies(self, graph: Described) -> bool:
        """Whether a graph is from before the change."""
        return graph.has_key(self.old) and not graph.has_key(self.new)

    def after(self, graph: Described) -> Described:
        """The graph after the change."""
        return graph.with_key(self.new, graph.keys.get(self.old), instead=self.old)


@dataclass(frozen=True, slots=True)
class DropKey:
    """See `drop_key`."""

    key: str

    def applies(self, graph: Described) -> bool:
        """Whether a graph is from before the change."""
        return graph.has_key(self.key)

    def after(self, graph: Described) -> Described:
        """The graph after the change."""
        return graph.with_key(self.key, None)


@dataclass(frozen=True, slots=True)
class ConvertKey:
    """See `convert_key`."""

    key: str
    value: Convert
    update: Convert | None
    was: str | None

    def applies(self, graph: Described) -> bool:
        """Whether a graph is from before the change."""
        return graph.has_key(self.key, self.was)

    def after(self, graph: Described) -> Described:
        """The graph after the change: what the key's type is now, its description cannot know."""
        known = graph.keys.get(self.key, DescribedKey())
        return graph.with_key(self.key, DescribedKey(None, known.reducer))


class _OfValues:
    """A change of what is stored, which leaves the graph's description as it is."""

    __slots__ = ()

    def after(self, graph: Described) -> Described:
        """The graph after the change."""
        return graph


@dataclass(frozen=True, slots=True)
class ConvertResult(_OfValues):
    """See `convert_result`."""

    node: str
    update: Convert


@dataclass(frozen=True, slots=True)
class ConvertSend(_OfValues):
    """See `convert_send`."""

    node: str
    arg: Convert


@dataclass(frozen=True, slots=True)
class ConvertQuestion(_OfValues):
    """See `convert_question`."""

    node: str
    value: Convert


Change: TypeAlias = (
    RenameNode | RenameKey | DropKey | ConvertKey | ConvertResult | ConvertSend | ConvertQuestion
)
_Lone = RenameNode | RenameKey | DropKey | ConvertKey


def rename_node(old: str, new: str) -> RenameNode:
    """A node has another name: due tasks, results that lead to it and joins that wait for it go
    to the new one. Tasks keep their ids, and with them their idempotency keys and questions."""
    return RenameNode(old, new)


def rename_key(old: str, new: str) -> RenameKey:
    """A key of the state has another name, in the state and in pending results."""
    return RenameKey(old, new)


def drop_key(key: str) -> DropKey:
    """A key of the state is gone, and what threads have under it may be, too."""
    return DropKey(key)


def convert_key(
    key: str, value: Convert, *, update: Convert | None = None, was: str | None = None
) -> ConvertKey:
    """What is stored under a key means something else.

    Args:
        key: the key, by its name after the changes before this one.
        value: makes the new value of the old one.
        update: likewise for an update that a finished task has written to the key and that is
            not part of the state yet; for a key without a reducer, `value` by default.
        was: the type that the key had, as its annotation is spelled (``"str"``,
            ``"list[str]"``). Needed where this is no part of a `Migration`: only then is it known
            which threads are to be converted, and which are already.
    """
    return ConvertKey(key, value, update, was)


def convert_result(node: str, update: Convert) -> ConvertResult:
    """What a node has written, and what is not part of the state yet, means something else.

    Args:
        node: the node, by its name after the changes before this one.
        update: makes the new update of the old one: a dict by key; what replaces a value and does
            not go through the key's reducer is an `Overwrite` in it.
    """
    return ConvertResult(node, update)


def convert_send(node: str, arg: Convert) -> ConvertSend:
    """What has been sent to a node, and has not run yet, means something else."""
    return ConvertSend(node, arg)


def convert_question(node: str, value: Convert) -> ConvertQuestion:
    """A node asks its questions in other words: those that are stored, open or just answered, are
    what `value` makes of them. They get other ids: a question's id is bound to what it asks."""
    return ConvertQuestion(node, value)


@dataclass(frozen=True, slots=True, init=False)
class Migration:
    """Changes that belong together, with a condition.

    Args:
        changes: the changes, in order.
        when: which threads they are for: the fingerprint of the graph that wrote them last
            (``graph.definition.fingerprint``), or a function of its description (a `Described`,
            with `has_node` and `has_key`).
        to: the fingerprint that the graph had after these changes, for a later migration whose
            condition is that.
    """

    changes: tuple[Change, ...]
    when: str | Callable[[Described], bool]
    to: str | None

    def __init__(
        self, *changes: Change, when: str | Callable[[Described], bool], to: str | None = None
    ) -> None:
        object.__setattr__(self, "changes", changes)
        object.__setattr__(self, "when", when)
        object.__setattr__(self, "to", to)

    def applies(self, graph: Described) -> bool:
        """Whether it is for threads of this graph."""
        return self.when == graph.fingerprint if isinstance(self.when, str) else self.when(graph)


def read_migrations(given: Iterable[Any]) -> tuple[Migration, ...]:
    """What was given to ``compile(migrations=...)``, each change under its condition.

    Raises:
        GraphDefinitionError: something is no migration, or does not say which threads it is for.
    """
    return tuple(map(_read, given))


def _read(entry: Any) -> Migration:
    if isinstance(entry, _Lone):
        if isinstance(entry, ConvertKey) and entry.was is None:
            raise GraphDefinitionError(
                f"Which threads are to have {entry.key!r} converted? Say which type it had there: "
                f"convert_key(..., was='str'); or put it into a Migration(..., when=...)."
            )
        return Migration(entry, when=entry.applies)
    if isinstance(entry, (ConvertResult, ConvertSend, ConvertQuestion)):
        raise GraphDefinitionError(
            f"{entry!r} does not say which threads it is for: put it into a "
            f"Migration(..., when=...)."
        )
    if not isinstance(entry, Migration) or not all(isinstance(c, Change) for c in entry.changes):
        raise GraphDefinitionError(
            f"Migrations are what rename_node(), rename_key(), drop_key(), convert_key() and the "
            f"like make, or a Migration of those; not {entry!r}."
        )
    if not (isinstance(entry.when, str) or callable(entry.when)):
        raise GraphDefinitionError(
            f"when= is a fingerprint, or a function of a graph's description, not {entry.when!r}."
        )
    return entry


def check_migrations(
    migrations: Sequence[Migration], nodes: Collection[str], keys: Collection[str]
) -> None:
    """See that what migrations lead to is there.

    Raises:
        GraphDefinitionError: a new name is none that the graph has, or that is changed further.
    """
    changes = [change for migration in migrations for change in migration.changes]
    for place, change in enumerate(changes):
        later = changes[place + 1 :]
        match change:
            case RenameNode(_, new):
                on = {c.old for c in later if isinstance(c, RenameNode)}
                _check_known(new, nodes, on, "node", change)
            case RenameKey(_, new):
                on = {c.old for c in later if isinstance(c, RenameKey)}
                on |= {c.key for c in later if isinstance(c, DropKey)}
                _check_known(new, keys, on, "key", change)


def _check_known(
    name: str, known: Collection[str], changed: Collection[str], what: str, change: Change
) -> None:
    if name not in known and name not in changed:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise GraphDefinitionError(f"{change!r} leads to no {what} of this graph.{hint}")


def changes_for(
    graph: Described, migrations: Iterable[Migration]
) -> tuple[tuple[Change, ...], Described]:
    """The changes that threads of a graph need, and the graph that these make of it."""
    changes: list[Change] = []
    for migration in migrations:
        if migration.applies(graph):
            for change in migration.changes:
                graph = change.after(graph)
                changes.append(change)
            if migration.to is not None:
                graph = Described(migration.to, graph.nodes, graph.keys, graph.types)
    return tuple(changes), graph
