"""The scripts, from the files in `lua`, and calls of them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Final, TypeAlias

__all__ = [
    "APPEND",
    "BEAT",
    "DROP_ITEMS",
    "FORGET_RESULTS",
    "GET_ITEMS",
    "KEEP_RESULTS",
    "LABEL",
    "LIST_ITEMS",
    "POST",
    "PROLONG_ITEMS",
    "PRUNE",
    "PUT_ITEMS",
    "READ",
    "REMOVE",
    "SCAN",
    "Argument",
    "Call",
    "Command",
    "Script",
    "packed",
]

Argument: TypeAlias = str | bytes | int
Command: TypeAlias = tuple[Argument, ...]


@dataclass(frozen=True, slots=True)
class Script:
    """A script, which the server runs as one atomic operation.

    Attributes:
        text: what it does.
        digest: what the server knows it by, once it has been sent there.
    """

    text: bytes
    digest: str


@dataclass(frozen=True, slots=True)
class Call:
    """A call of a script."""

    script: Script
    keys: Sequence[str]
    arguments: Sequence[Argument]

    def by_digest(self) -> Command:
        """The call of a script that the server knows."""
        return ("EVALSHA", self.script.digest, len(self.keys), *self.keys, *self.arguments)

    def by_text(self) -> Command:
        """The call of a script that it does not know, and then will."""
        return ("EVAL", self.script.text, len(self.keys), *self.keys, *self.arguments)


def packed(commands: Iterable[Command]) -> bytes:
    """Commands as they are sent."""
    parts: list[bytes] = []
    for command in commands:
        parts.append(b"*%d\r\n" % len(command))
        for argument in command:
            data = argument if isinstance(argument, bytes) else str(argument).encode()
            parts += (b"$%d\r\n" % len(data), data, b"\r\n")
    return b"".join(parts)


def _script(name: str) -> Script:
    text = (files(__package__) / "lua" / f"{name}.lua").read_bytes()
    return Script(text, hashlib.sha1(text, usedforsecurity=False).hexdigest())


APPEND: Final = _script("append")
BEAT: Final = _script("beat")
LABEL: Final = _script("label")
POST: Final = _script("post")
PRUNE: Final = _script("prune")
READ: Final = _script("read")
REMOVE: Final = _script("remove")
SCAN: Final = _script("scan")

DROP_ITEMS: Final = _script("drop_items")
GET_ITEMS: Final = _script("get_items")
LIST_ITEMS: Final = _script("list_items")
PROLONG_ITEMS: Final = _script("prolong_items")
PUT_ITEMS: Final = _script("put_items")

FORGET_RESULTS: Final = _script("forget_results")
KEEP_RESULTS: Final = _script("keep_results")
