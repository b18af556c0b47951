"""Which records and values of a thread are of no use any more."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from durable_graph.log.records import Ranges
from durable_graph.log.seal import Header, extend

__all__ = ["unneeded"]


def unneeded(headers: Sequence[Header], path: Ranges, keep: int) -> tuple[Ranges, list[str]]:
    """The records whose bodies may go, and the large values that then nothing refers to.

    Args:
        headers: of all records, in order.
        path: the records of the present state.
        keep: how many of the last checkpoints must stay readable.
    """
    needed = set(_numbers(path))
    # Those of the root graph: what graphs within it have done belongs to them.
    commits = [header for header in headers if header.commit is not None and not header.ns]
    for header in commits[-keep:]:
        if header.commit is not None:
            needed.update(_numbers(header.commit.path))
            needed.add(header.seq)
            needed.update(_results(headers, header.seq))
    ranges: Ranges = ()
    freed: set[str] = set()
    used: set[str] = set()
    for header in headers:
        if header.seq in needed:
            used.update(header.blobs)
        else:
            ranges = extend(ranges, header.seq)
            freed.update(header.blobs)
    return ranges, sorted(freed - used)


def _numbers(ranges: Ranges) -> Iterable[int]:
    for first, last in ranges:
        yield from range(first, last + 1)


def _results(headers: Sequence[Header], commit: int) -> Iterable[int]:
    """Records after a checkpoint that say what became of its tasks."""
    for header in headers[commit:]:
        yield header.seq
        if header.commit is not None and not header.ns:
            return
