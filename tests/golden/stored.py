"""What a SQLite file holds of a thread, read without the code that wrote it, and as text.

The text has a line for each fact and an empty line between two things, so that a change of the
format is seen in review. It holds everything: `load` brings a thread from it into any backend.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, TypeAlias

import orjson

from durable_graph.log.records import Head, Record, ThreadKey
from durable_graph.ports.backend import Append, Backend, Message

__all__ = ["Thing", "as_text", "load", "threads_of", "to_record", "to_things"]

Thing: TypeAlias = dict[str, Any]
"""A head, a record, a large value or a message: columns by name, as SQLite has them."""

_HEX = frozenset({"link", "secret", "digest"})
_BYTES = frozenset({"state", "header", "body", "data"})
_QUERIES = {
    "thread": "SELECT * FROM threads WHERE id = ?",
    "record": "SELECT * FROM records WHERE thread_id = ? ORDER BY seq",
    "blob": "SELECT * FROM blobs WHERE thread_id = ? ORDER BY id",
    "message": "SELECT * FROM messages WHERE thread_id = ? ORDER BY id",
}


_TITLES = {
    "thread": ("thread", "status"),
    "record": ("seq", "kind", "checkpoint"),
    "blob": ("digest",),
    "message": ("message", "kind"),
}
"""The facts in a thing's first line: words without a blank in them."""

_FACTS = {
    "thread": (
        *("tenant", "seq", "epoch", "link", "secret", "owner", "created", "updated", "checksum"),
        "state",
    ),
    "record": ("digest", "link", "header", "body"),
    "blob": ("data",),
    "message": ("author", "time", "verdict", "body"),
}
"""The facts that have lines of their own, one for each line of a text; a missing one is NULL."""


def threads_of(path: Path) -> dict[str, list[tuple[str, Thing]]]:
    """All threads in a file, as things of a kind each."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
        db.row_factory = sqlite3.Row
        rows = db.execute("SELECT id, thread FROM threads ORDER BY thread").fetchall()
        return {
            name: [
                (kind, dict(row))
                for kind, query in _QUERIES.items()
                for row in db.execute(query, (number,))
            ]
            for number, name in rows
        }


def as_text(things: list[tuple[str, Thing]]) -> str:
    """A thread as text."""
    return "\n".join("\n".join(_lines(kind, thing)) + "\n" for kind, thing in things)


def _lines(kind: str, thing: Thing) -> Iterator[str]:
    titles = (thing[name] for name in _TITLES[kind])
    yield " ".join([kind, *(str(title) for title in titles if title is not None)])
    for name in _FACTS[kind]:
        value = thing[name]
        if type(value) is bytes and name not in _HEX:
            value = value.decode()
        elif type(value) is bytes:
            value = value.hex()
        if value is not None:
            yield from (f"  {name} {line}" for line in str(value).split("\n"))


def to_things(text: str) -> list[tuple[str, Thing]]:
    """A thread from its text."""
    return [_thing(part.rstrip("\n").split("\n")) for part in text.split("\n\n")]


def _thing(lines: list[str]) -> tuple[str, Thing]:
    kind, *titles = lines[0].split(" ")
    thing: Thing = dict.fromkeys((*_TITLES[kind], *_FACTS[kind]))
    texts = dict(zip(_TITLES[kind], titles, strict=False))
    for line in lines[1:]:
        name, _, value = line[2:].partition(" ")
        texts[name] = f"{texts[name]}\n{value}" if name in texts else value
    for name, text in texts.items():
        thing[name] = text if kind == "blob" and name == "digest" else _value(name, text)
    return kind, thing


def _value(name: str, text: str) -> Any:
    if name in _BYTES:
        return text.encode()
    if name in _HEX:
        return bytes.fromhex(text)
    if name in ("created", "updated", "time"):
        return float(text)
    return int(text) if name in ("seq", "epoch", "checksum") else text


async def load(backend: Backend, things: list[tuple[str, Thing]]) -> None:
    """Bring a thread into a backend, as it was."""
    (head,) = (_head(thing) for kind, thing in things if kind == "thread")
    records: list[Record] = []
    for kind, thing in things:
        if kind == "record":
            records.append(to_record(thing, records[-1].link if records else b""))
    blobs = {thing["digest"]: thing["data"] for kind, thing in things if kind == "blob"}
    await backend.append([Append(None, head, records, blobs, {})])
    for kind, thing in things:
        if kind == "message":
            names = ("message", "kind", "body", "author", "time", "verdict")
            await backend.post(head.key, Message(*(thing[name] for name in names)))


def _head(thing: Thing) -> Head:
    rest = orjson.loads(thing["state"])
    path = tuple((first, last) for first, last in rest.pop("path"))
    names = ("seq", "epoch", "link", "secret", "status", "owner", "created", "updated")
    key = ThreadKey(thing["tenant"], thing["thread"])
    return Head(key=key, path=path, **rest, **{name: thing[name] for name in names})


def to_record(thing: Thing, previous: bytes = b"") -> Record:
    """A record as it comes out of a backend."""
    names = ("seq", "kind", "checkpoint", "header", "body", "digest", "link")
    return Record(**{name: thing[name] for name in names}, previous=previous)
