"""Which history of a database a server has: after a failover there may be more than one."""

from __future__ import annotations

import threading

from durable_graph.errors import StorageError

__all__ = ["Lineage"]


class Lineage:
    """The history that one backend has seen.

    A cluster of PostgreSQL's has an identifier, which its standbys share. A standby that becomes
    the primary begins the next timeline; who was the primary before it, and comes back, goes on
    with the one that it knows, without all that was written since.
    """

    def __init__(self) -> None:
        self._cluster: int | None = None
        self._timeline = 0
        self._lock = threading.Lock()  # event loops of several threads connect

    def meet(self, cluster: int, timeline: int, where: str) -> bool:
        """A server was reached; returns whether others that were reached before are outdated.

        Args:
            cluster: its cluster's identifier.
            timeline: the one that it writes to.
            where: the database, for messages.

        Raises:
            StorageError: it has another history than the one that was seen, or an older one.
        """
        with self._lock:
            if self._cluster not in (None, cluster):
                raise StorageError(
                    f"{where} is another database cluster ({cluster}) than the one that was used "
                    f"so far ({self._cluster}), which has what was acknowledged; nothing was "
                    f"written. If it has taken the other one's place, begin with a new saver."
                )
            if timeline < self._timeline:
                raise StorageError(
                    f"{where} writes to timeline {timeline}, and timeline {self._timeline} was "
                    f"seen already: this server was the primary before a failover and does not "
                    f"have what was written since; nothing was written. Stop it, or make it a "
                    f"standby of the new primary (pg_rewind)."
                )
            outdated = 0 < self._timeline < timeline
            self._cluster, self._timeline = cluster, timeline
            return outdated
