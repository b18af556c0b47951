"""Which records and values of a thread are of no use any more."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from durable_graph.log.records import Ranges
from durable_graph.log.seal import Header, extend

__all__ = ["last_checkpoints", "unneeded"]


def last_checkpoints(headers: Sequence[Header], count: int) -> list[int]:
    """The records of a thread's last checkpoints.

    Args:
        headers: of all records, in order.
        count: how many, at least 1.
    """
    return [header.seq for header in headers if header.commit is not None and not header.ns][
        -count:
    ]


def unneeded(
    headers: Sequence[Header], path: Ranges, kept: Collection[int]
) -> tuple[Ranges, list[str]]:
    """The records whose bodies may go, and the large values that then nothing refers to.

    Args:
        headers: of all records, in order.
        path: the records of the present state.
        kept: the records of the root graph's checkpoints that must stay readable; what graphs
            within it have done belongs to them.
    """
    needed = set(_numbers(path))
    for header in headers:
        if header.seq in kept and header.commit is not None:
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
