"""Where what is kept: the keys of all objects, below the bucket's prefix.

::

    format                                     the version of all this
    heads/TENANT/THREAD                        the manifest of a thread
    logs/TENANT/THREAD/LOG/s-...               a segment: some records
    logs/TENANT/THREAD/LOG/i-...               an index object: where segments are
    logs/TENANT/THREAD/LOG/b-DIGEST.ERA        a large value
    logs/TENANT/THREAD/LOG/v-ID                a message with its verdict
    processes/ID                               a process; when it was written is its sign of life

A name of any characters is a readable word and a digest. Manifests are apart from the rest, so
that listing threads is listing them and nothing else.
"""

from __future__ import annotations

from typing import Final

from durable_graph.log.records import ThreadKey
from durable_graph.ports.archive import folder_of, readable

__all__ = ["HEADS", "LOGS", "PROCESSES", "LogKeys", "folder", "heads_of", "manifest_key"]

HEADS: Final = "heads/"
LOGS: Final = "logs/"
PROCESSES: Final = "processes/"


def manifest_key(thread: ThreadKey) -> str:
    """A thread's manifest."""
    return f"{HEADS}{folder_of(thread)}"


def heads_of(tenant: str) -> str:
    """What the manifests of a tenant's threads begin with."""
    return f"{HEADS}{readable(tenant)}/"


def folder(thread: ThreadKey) -> str:
    """What all else of a thread begins with."""
    return f"{LOGS}{folder_of(thread)}/"


class LogKeys:
    """The keys of one log.

    Args:
        thread: the thread.
        log: the log's name.
    """

    def __init__(self, thread: ThreadKey, log: str) -> None:
        self.all = f"{folder(thread)}{log}/"

    def named(self, name: str) -> str:
        """A segment or an index object."""
        return f"{self.all}{name}"

    def blob(self, digest: str, era: int) -> str:
        """A large value that was stored in an era."""
        return f"{self.blobs(digest)}{era:08d}"

    def blobs(self, digest: str) -> str:
        """What the keys of a large value begin with, whatever the era."""
        return f"{self.all}b-{readable(digest)}."

    def verdict(self, message: str) -> str:
        """A message that was settled."""
        return f"{self.all}v-{readable(message)}"
