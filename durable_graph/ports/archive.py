"""The port to cold storage: where whole threads go, each as one file, and come back from."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import Final, Protocol

from durable_graph.log.records import ThreadKey

__all__ = ["Archive", "check_name", "file_name", "folder_of", "name_in", "readable"]

_NAME: Final = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*(/[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*)*")
_UNREADABLE: Final = re.compile(r"[^A-Za-z0-9_-]+")
_DEPTH: Final = 3  # tenant, thread, file
_READABLE: Final = 40


class Archive(Protocol):
    """Files by name. A name is words with dots and slashes between them, see `check_name`.

    An instance can be used from several event loops. Every method may raise `StorageError`.
    """

    @property
    def url(self) -> str:
        """Where it is; a file is named to humans as this, a slash and its name."""
        ...

    async def put(self, name: str, data: bytes) -> None:
        """Store a file; on return it survives whatever the archive survives.

        Raises:
            StorageError: there is one of that name, or it could not be stored.
        """
        ...

    async def get(self, name: str) -> bytes | None:
        """A file; ``None`` if there is none of that name."""
        ...

    async def delete(self, name: str) -> None:
        """Delete a file. Harmless if there is none of that name."""
        ...

    async def names(self, folder: str) -> Sequence[str]:
        """The names of all files that begin with this and a slash."""
        ...

    async def aclose(self) -> None:
        """Release everything. Harmless if done twice."""
        ...


def check_name(name: str) -> str:
    """The name, if it is one that cannot lead anywhere else.

    Raises:
        ValueError: it is not.
    """
    if _NAME.fullmatch(name) is None:
        raise ValueError(f"{name!r} is no name of a file in an archive.")
    return name


def readable(text: str) -> str:
    """A short name for any text: different for every text, also where case is ignored, and close
    to it where that is possible."""
    word = _UNREADABLE.sub("_", text)[:_READABLE] or "_"
    return f"{word}.{hashlib.blake2b(text.encode(), digest_size=16).hexdigest()}"


def folder_of(thread: ThreadKey) -> str:
    """Where an archive has the files of a thread."""
    return f"{readable(thread.tenant)}/{readable(thread.thread)}"


def file_name(thread: ThreadKey, seq: int, unique: str) -> str:
    """The name of a thread's file.

    Args:
        thread: the thread.
        seq: how many records are in it.
        unique: what no other file of the thread is called: whoever gives up what they have begun
            may delete their own file, and nobody else's.
    """
    return f"{folder_of(thread)}/{seq}-{unique}.thread"


def name_in(where: str, thread: ThreadKey) -> str | None:
    """The name of a thread's file that a card says is at `where`; ``None`` if it cannot be one.

    What stands before the name does not matter: an archive may have been moved.
    """
    name = "/".join(where.split("/")[-_DEPTH:])
    known = _NAME.fullmatch(name) is not None and name.startswith(f"{folder_of(thread)}/")
    return name if known else None
