"""How long a thread's checkpoints are kept, and when a thread may be deleted.

A checkpoint is kept as long as somebody may go on from it. The present one is always; so is the
last one of every branch that nothing has gone on from, since its state, its questions and its
results would be lost with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from durable_graph.errors import ConfigError
from durable_graph.log.seal import Header

__all__ = ["Retention", "due_at", "kept_checkpoints"]


@dataclass(frozen=True, slots=True)
class Retention:
    """Which checkpoints of a thread to keep; the content of the others goes.

    Whatever is said here, the present state, open questions and the end of every branch stay as
    they are, with all that they are folded from.

    Args:
        keep_last: that many of the last ones, at least 1.
        keep_for: those of the last so many seconds.

    With both, a checkpoint goes if neither keeps it.

    Raises:
        ConfigError: neither is given, or one makes no sense.
    """

    keep_last: int | None = None
    keep_for: float | None = None

    def __post_init__(self) -> None:
        last, seconds = self.keep_last, self.keep_for
        if last is None and seconds is None:
            raise ConfigError(
                "Say what to keep: Retention(keep_last=...) or Retention(keep_for=...)."
            )
        if last is not None and (type(last) is not int or last < 1):
            raise ConfigError(f"keep_last is a number of checkpoints, at least 1, not {last!r}.")
        if seconds is not None and (type(seconds) not in (int, float) or not seconds >= 0):
            raise ConfigError(f"keep_for is a number of seconds, at least 0, not {seconds!r}.")


def kept_checkpoints(headers: Sequence[Header], retention: Retention, now: float) -> set[int]:
    """The records of the root graph's checkpoints that stay readable.

    Args:
        headers: of all records, in order.
        retention: what to keep.
        now: Unix time.
    """
    commits = [(h.seq, h.time, h.commit) for h in headers if h.commit is not None and not h.ns]
    # By name, since a name is all that a checkpoint says of the one before it.
    followed = {commit.parent for _, _, commit in commits}
    kept = {seq for seq, _, commit in commits if commit.id not in followed}
    if commits:
        kept.add(commits[-1][0])
    if retention.keep_last is not None:
        kept.update(seq for seq, _, _ in commits[-retention.keep_last :])
    if retention.keep_for is not None:
        kept.update(seq for seq, time, _ in commits if time > now - retention.keep_for)
    return kept


def due_at(expires: float, ttl: float | None, changed: float) -> float:
    """When a thread may be deleted, Unix time.

    What its card says is how that stood when the card was written. A run that has changed the
    thread since then does not write to the card, so that a thread with a limit costs no more.

    Args:
        expires: when it may be deleted, by its card.
        ttl: seconds without a change for which it is kept, if that is what the limit is.
        changed: when it changed last, Unix time.
    """
    return expires if ttl is None else max(expires, changed + ttl)
