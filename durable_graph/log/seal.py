"""Drafts to records: the last step before storage, and the first after it.

A draft says what happened; only when it is about to be written does it get its place in the log
(sequence number, path, link of the hash chain). So a refused append burns no number, and what a
run has waiting is sealed in one go.

``link = BLAKE2b(previous link + digest + header)``, ``digest = BLAKE2b(body, key=secret)``.
Pruning drops a body and keeps header and digest, so the chain still verifies.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

from durable_graph.errors import DecryptionError, IntegrityError, UnknownTypeError
from durable_graph.log.codec import blobs_in
from durable_graph.log.records import (
    FORMAT,
    KIND_OF,
    Body,
    Commit,
    Head,
    Kind,
    Ranges,
    Record,
    Source,
    Status,
    ThreadKey,
    decode_body,
    encode_body,
)

__all__ = [
    "RECORD_COST",
    "CommitInfo",
    "Draft",
    "Header",
    "Unreadable",
    "blob_digest",
    "damage",
    "extend",
    "open_header",
    "open_record",
    "seal",
    "snapshot_due",
]

RECORD_COST: Final = 96
"""What a record costs beyond its header and body, in bytes: its row, and reading it."""

_HEADER_COST: Final = 4 * RECORD_COST
"""What a record adds to the weight of a path besides its body. Its header is part of what it
weighs, and says how much; so that cannot be its exact length."""

_SMALL_STATE: Final = 8192
"""Below this many bytes to fold, a snapshot is not worth its own bytes."""


@dataclass(slots=True)
class CommitInfo:
    """What the header of a commit says besides what every header says.

    Attributes:
        id: the checkpoint's id.
        parent: id of the checkpoint it follows; ``None`` for a thread's first.
        branch: id of the checkpoint that began this branch.
        step: number of the superstep; -1 for a thread's first input.
        source: what made it.
        nodes: the nodes whose results it takes in.
        meta: the caller's metadata.
        graph: fingerprint of the graph.
        path: what to fold before it, once it is sealed; empty for a snapshot.
        weight: bytes of that, itself included, once it is sealed.
    """

    id: str
    parent: str | None
    branch: str
    step: int
    source: Source
    nodes: tuple[str, ...]
    meta: Mapping[str, Any]
    graph: str | None
    path: Ranges = ()
    weight: int = 0


@dataclass(frozen=True, slots=True)
class Header:
    """A record's header, read.

    `meta` is what the caller of the run that goes on here says about it, where it is not what the
    last commit says.
    """

    seq: int
    kind: Kind
    ns: str
    time: float
    run: str | None
    by: str | None
    blobs: tuple[str, ...]
    commit: CommitInfo | None
    meta: Mapping[str, Any] | None = None


@dataclass(slots=True)
class Draft:
    """A record that has no place in the log yet.

    `commit` is there for commits; `onto` is the path and weight of the position that a commit
    follows, if that is not the head; `meta` for others, see `Header`.
    """

    body: Body
    time: float
    run: str | None
    by: str | None = None
    ns: str = ""
    commit: CommitInfo | None = None
    onto: tuple[Ranges, int] | None = None
    meta: Mapping[str, Any] | None = None


def seal(
    head: Head | None,
    drafts: Sequence[Draft],
    *,
    key: ThreadKey,
    secret: bytes,
    epoch: int,
    status: Status,
    owner: str | None,
    input: str | None,
    reason: str | None,
    now: float,
    large: int = 0,
) -> tuple[Head, tuple[Record, ...]]:
    """Give drafts their places after `head`; returns the new head and the records.

    `large` is the size of the large values that are stored along with them.
    """
    if head is not None:
        seq, link, path, weight = head.seq, head.link, head.path, head.weight
        fresh, size, created = head.fresh, head.size, head.created
        run, checkpoint, step = head.run, head.checkpoint, head.step
    else:
        seq, link, path, weight, fresh, size, created = 0, b"", (), 0, 0, 0, now
        run, checkpoint, step = None, "", -2
    size += large
    fresh += large
    records = []
    for draft in drafts:
        seq += 1
        body = encode_body(draft.body)
        info = draft.commit
        snapshot = False
        if info is not None:
            snapshot = isinstance(draft.body, Commit) and draft.body.values is not None
            path, weight = ((), 0) if snapshot else draft.onto or (path, weight)
            if not draft.ns:  # the head speaks of the root graph
                checkpoint, step = info.id, info.step
        weight += len(body) + _HEADER_COST
        run = draft.run
        header = _write_header(draft, seq, body, path, weight)
        path = extend(path, seq)
        written = len(header) + len(body) + RECORD_COST
        size += written
        fresh = 0 if snapshot else fresh + written
        digest = _digest(body, secret)
        previous, link = link, _link(link, digest, header)
        kind = KIND_OF[type(draft.body)]
        name = info.id if info is not None else None
        records.append(Record(seq, kind, name, header, body, digest, link, previous))
    # By position: by name, so many fields would take three times as long.
    after = Head(
        key,
        seq,
        epoch,
        link,
        secret,
        status,
        owner,
        run,
        checkpoint,
        step,
        path,
        weight,
        fresh,
        size,
        input,
        reason,
        created,
        now,
    )
    return after, tuple(records)


def _write_header(draft: Draft, seq: int, body: bytes, path: Ranges, weight: int) -> bytes:
    header: dict[str, Any] = {
        "v": FORMAT,
        "seq": seq,
        "kind": KIND_OF[type(draft.body)],
        "time": draft.time,
        "run": draft.run,
    }
    if draft.ns:
        header["ns"] = draft.ns
    if draft.by is not None:
        header["by"] = draft.by
    if references := blobs_in(body):
        header["blobs"] = sorted(set(references))
    if draft.meta is not None:
        header["meta"] = draft.meta
    info = draft.commit
    if info is not None:
        header["id"] = info.id
        header["parent"] = info.parent
        header["branch"] = info.branch
        header["step"] = info.step
        header["source"] = info.source
        header["nodes"] = info.nodes
        header["meta"] = info.meta
        header["graph"] = info.graph
        header["path"] = path
        header["weight"] = weight
    return orjson.dumps(header)


def extend(path: Ranges, seq: int) -> Ranges:
    """A path with one more record at its end."""
    if path and path[-1][1] == seq - 1:
        return (*path[:-1], (path[-1][0], seq))
    return (*path, (seq, seq))


def snapshot_due(weight: int, fresh: int, state: Callable[[], int]) -> bool:
    """Whether the next commit should hold the whole state; `state` says how large that is.

    Reading must cost O(state), so what is folded may not outgrow the state. And the snapshots
    together must cost O(written), so at least the state's size lies between two: else 200 forks
    of one checkpoint would each be a snapshot.
    """
    return weight > _SMALL_STATE and weight > (size := state()) + _SMALL_STATE and fresh > size


def open_record(record: Record, secret: bytes, thread: str) -> tuple[Header, Body]:
    """Header and body of a stored record, after checking that they are what was written.

    Raises:
        IntegrityError: they are not; or the body was pruned.
        UnknownTypeError: they were written in a newer format.
    """
    header = open_header(record, thread)
    if record.body is None:
        raise IntegrityError(f"Record {record.seq} of thread {thread!r} was pruned.")
    if _digest(record.body, secret) != record.digest:
        raise damage(record.body, f"The body of record {record.seq} of thread {thread!r}")
    try:
        return header, decode_body(header.kind, record.body)
    except IntegrityError as error:
        raise IntegrityError(f"Record {record.seq} of thread {thread!r}: {error}") from error


def open_header(record: Record, thread: str) -> Header:
    """The header of a stored record, after checking it against the hash chain."""
    if _link(record.previous, record.digest, record.header) != record.link:
        raise IntegrityError(
            f"Record {record.seq} of thread {thread!r} is damaged: it does not fit the hash chain."
        )
    try:
        plain = orjson.loads(record.header)
        version = plain["v"]
        if type(version) is not int or not 1 <= version <= FORMAT:
            raise UnknownTypeError(
                f"Record {record.seq} of thread {thread!r} has format {version}; this version "
                f"reads up to {FORMAT}. It was written by a newer one: upgrade."
            )
        header = _header(plain)
        if not _is_sound(header):
            raise ValueError("not what anybody writes")
    except (LookupError, TypeError, ValueError) as error:
        raise IntegrityError(
            f"The header of record {record.seq} of thread {thread!r} is damaged."
        ) from error
    name = header.commit.id if header.commit is not None else None
    if (header.seq, header.kind, name) != (record.seq, record.kind, record.checkpoint):
        raise IntegrityError(
            f"Record {record.seq} of thread {thread!r} is damaged: by its header it is record "
            f"{header.seq}, a {header.kind}."
        )
    return header


class Unreadable(bytes):
    """Stands for bytes that could not be decrypted, so that whoever opens them is told so, and
    whoever reads what is beside them is not."""

    __slots__ = ()


def damage(data: bytes, what: str) -> IntegrityError:
    """What is wrong with bytes that do not have their digest."""
    if isinstance(data, Unreadable):
        return DecryptionError(
            f"{what} cannot be decrypted: it was altered or moved, is not encrypted, or its key is "
            f"not among those that are known here."
        )
    return IntegrityError(f"{what} is damaged.")


def blob_digest(data: bytes, secret: bytes) -> str:
    """The name of a large value: 64 hex digits, different in every thread."""
    return hashlib.blake2b(data, digest_size=32, key=secret).hexdigest()


def _digest(body: bytes, secret: bytes) -> bytes:
    return hashlib.blake2b(body, digest_size=16, key=secret).digest()


def _link(previous: bytes, digest: bytes, header: bytes) -> bytes:
    return hashlib.blake2b(previous + digest + header, digest_size=32).digest()


def _is_sound(header: Header) -> bool:
    """Whether what others rely on is of its kind: a chain can be made to fit by hand."""
    info = header.commit
    texts = (header.run, header.by) if info is None else (header.run, header.by, info.parent)
    if type(header.time) not in (float, int) or not all(t is None or type(t) is str for t in texts):
        return False
    if not all(type(digest) is str for digest in header.blobs):
        return False
    if info is None:
        return header.meta is None or type(header.meta) is dict
    places = [place for part in info.path for place in part]
    return (
        all(type(number) is int for number in (info.step, info.weight, *places))
        and places == sorted(places)
        and (not places or 0 < places[0] <= places[-1] < header.seq)
        and type(info.branch) is str
        and (info.graph is None or type(info.graph) is str)
        and type(info.meta) is dict
        and all(type(name) is str for name in info.nodes)
    )


def _header(plain: dict[str, Any]) -> Header:
    kind = plain["kind"]
    return Header(
        seq=plain["seq"],
        kind=kind,
        ns=plain.get("ns", ""),
        time=plain["time"],
        run=plain["run"],
        by=plain.get("by"),
        blobs=tuple(plain.get("blobs", ())),
        commit=CommitInfo(
            id=plain["id"],
            parent=plain["parent"],
            branch=plain["branch"],
            step=plain["step"],
            source=plain["source"],
            nodes=tuple(plain["nodes"]),
            meta=plain["meta"],
            graph=plain["graph"],
            path=tuple((first, last) for first, last in plain["path"]),
            weight=plain["weight"],
        )
        if kind == "commit"
        else None,
        meta=None if kind == "commit" else plain.get("meta"),
    )
