"""A log without some of its bodies and large values: what its manifest is then."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from durable_graph.ports.backend import Removal
from durable_graph_s3.bucket import fresh
from durable_graph_s3.index import Span, grow
from durable_graph_s3.keys import LogKeys
from durable_graph_s3.log import Log, without_bodies
from durable_graph_s3.manifest import Manifest, pack_index, pack_segment

__all__ = ["pruned"]


async def pruned(
    manifest: Manifest, log: Log, what: Removal
) -> tuple[Manifest, Sequence[str], Mapping[str, bytes]]:
    """What a thread is without a part of it.

    Args:
        manifest: what it is.
        log: its log.
        what: the part.

    Returns:
        The manifest; the keys of what it does not lead to any more; and what has to be stored
        before it, by key.

    Raises:
        IntegrityError: a segment of which something goes is damaged.
        Moved: the manifest is not the present one.
    """
    if manifest.head is None:
        raise ValueError("There is no log to take anything from.")
    keys = LogKeys(manifest.key, manifest.log)
    spans: list[Span] = []
    stale: list[str] = []
    objects: dict[str, bytes] = {}
    for span in await log.spans(lambda span: True):
        if any(first <= span.last and span.first <= last for first, last in what.bodies):
            records = await log.segment(span)
            left = without_bodies(records, what.bodies)
            if left != list(records):
                stale.append(span.name)
                span = span._replace(name=f"s-{fresh()}")  # noqa: PLW2901 - the one in its place
                objects[keys.named(span.name)] = pack_segment(left)
        spans.append(span)
    index, nodes = grow((), spans, lambda: f"i-{fresh()}")
    objects |= {keys.named(name): pack_index(below) for name, below in nodes.items()}
    after = replace(
        manifest,
        head=replace(manifest.head, epoch=manifest.head.epoch + 1),
        era=manifest.era + (1 if what.blobs else 0),
        index=index,
        tail=without_bodies(manifest.tail, what.bodies),
    )
    return after, [keys.named(name) for name in (*stale, *log.indexes)], objects
