"""The backend: threads in Redis, each under one key."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from durable_graph.errors import (
    IntegrityError,
    OutcomeUnknownError,
    ThreadArchivedError,
    ThreadNotFoundError,
)
from durable_graph.log.seal import open_header
from durable_graph.ports.backend import (
    Append,
    Capabilities,
    Card,
    Liveness,
    Message,
    Outcome,
    Position,
    Process,
    Ranges,
    Reading,
    Record,
    Removal,
    Thread,
    ThreadKey,
    ThreadPage,
    ThreadQuery,
)
from durable_graph.ports.clock import Clock, SystemClock
from durable_graph.ports.rows import pack_card, pack_head, unpack_card, unpack_head
from durable_graph_redis.greeting import Durability
from durable_graph_redis.keys import Keys, member_of
from durable_graph_redis.listing import list_threads
from durable_graph_redis.replies import is_unknown, translate
from durable_graph_redis.rows import (
    at_of,
    link_of,
    pack_message,
    pack_process,
    pack_record,
    to_liveness,
    to_records,
    unpack_message,
)
from durable_graph_redis.scripts import (
    APPEND,
    BEAT,
    LABEL,
    POST,
    PRUNE,
    READ,
    REMOVE,
    SCAN,
    Argument,
    Call,
    Script,
)
from durable_graph_redis.sessions import Client, Sessions

__all__ = ["RedisBackend"]

_POLL: Final = 0.05
# Processes whose sign of life is this many leases old are forgotten.
_FORGOTTEN: Final = 100
# Of a long log, so many records are read at once: nobody else is served meanwhile.
_PIECE: Final = 1000
_ANSWERS: Final = {1: Outcome.APPLIED, 0: Outcome.REFUSED}

# A server takes strings of up to 512 MiB (`proto-max-bulk-len`), and as much as 1 GiB in one
# command (`client-query-buffer-limit`): beyond, it closes the connection.
_LONGEST: Final = 2**29 - 2**20
_MOST: Final = 2**30 - 2**24


class RedisBackend:
    """Threads in a Redis server or cluster, which any number of processes may use at once.

    Args:
        url: where it is: ``redis://``, ``rediss://`` with TLS, or ``unix://``. A cluster is
            recognised as one.
        client: instead of a URL, a client of your own, which is not closed; or a function that
            makes one for each event loop, which is.
        prefix: what all keys begin with.
        durability: what the server must promise. "always" (default): what was acknowledged
            survives a power loss of the server. "everysec": the last second may be lost.
        timeout: seconds that connecting may take, and one round trip.
        allow_weaker: use the server even if it promises less, or throws away keys.
        clock: where time comes from, for waiting; leases go by the server's clock.

    Raises:
        ConfigError: the arguments make no sense.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        client: Client | None = None,
        prefix: str = "durable_graph",
        durability: Durability = "always",
        timeout: float = 10.0,
        allow_weaker: bool = False,
        clock: Clock | None = None,
    ) -> None:
        self._sessions = Sessions(
            url,
            client,
            prefix=prefix,
            durability=durability,
            timeout=timeout,
            allow_weaker=allow_weaker,
        )
        self._keys = Keys(prefix)
        self._clock = clock or SystemClock()
        self._known: Mapping[str, float] = {}  # replaced and never changed: any thread may look
        self.capabilities = Capabilities(
            durable=True,
            shared=True,
            groups=True,
            max_record_bytes=_LONGEST,
            max_append_bytes=_MOST,
        )

    def __repr__(self) -> str:
        return f"<RedisBackend {self._sessions}>"

    async def append(
        self, batch: Sequence[Append], beat: Process | None = None
    ) -> Sequence[Outcome]:
        # The beat is first: whoever sees the thread as this process's must find the process alive.
        # Of commands that go out together that is not sure: in a cluster they go to several nodes,
        # and a server that has forgotten a script is asked again for that one. So the first sign of
        # a process goes by itself, as does one that comes late; before the others, there was one.
        if beat is not None and not self._is_known(beat):
            await self.beat(beat)
            beat = None
        calls = [] if beat is None else [self._beat(beat)]
        calls += map(self._append, batch)
        began = self._clock.monotonic()
        answers = await self._sessions.write_all(calls)
        wrong = [answer for answer in answers if isinstance(answer, BaseException)]
        if wrong:
            raise self._failed(wrong, all_of_them=len(wrong) == len(answers))
        if beat is not None:
            self._know(beat, began)
        return [_ANSWERS[answer] for answer in answers[len(calls) - len(batch) :]]

    async def read(
        self,
        thread: ThreadKey,
        checkpoint: str | None = None,
        *,
        unless: Position | None = None,
    ) -> Reading | None:
        known = at_of(unless) if checkpoint is None else b""
        wanted = f"c:{checkpoint}" if checkpoint is not None else ""
        packed, away, *rest = await self._look(READ, thread, known, wanted)
        if packed is None:
            if away is not None:
                raise ThreadArchivedError(thread.thread, away.decode())
            return None
        head = unpack_head(thread, packed)
        pairs, befores, values = rest[:3]
        messages = [
            unpack_message(id.decode(), value or b"", None)
            for id, value in zip(pairs[::2], pairs[1::2], strict=True)
        ]
        if checkpoint is not None:
            records, after = _at_checkpoint(thread, *rest[1:])
            return Reading(head, records, after, messages)
        if unless is not None and unless == Position.of(head):
            return Reading(head, (), (), messages)
        return Reading(head, _on_path(thread, head.path, befores, values), (), messages)

    async def scan(
        self,
        thread: ThreadKey,
        ranges: Ranges,
        *,
        bodies: bool = True,
    ) -> Sequence[Record]:
        found: list[Record] = []
        for piece in _pieces(ranges):
            numbers = [number for part in piece for number in part]
            last, befores, values = await self._look(SCAN, thread, "b" if bodies else "", *numbers)
            inside = tuple((first, min(end, last)) for first, end in piece)
            found += to_records(inside, befores, values)
            if last <= piece[-1][1]:
                break
        return found

    async def blobs(self, thread: ThreadKey, digests: Sequence[str]) -> Mapping[str, bytes]:
        if not digests:
            return {}
        names = [f"b:{digest}" for digest in digests]
        (values,) = await self._sessions.get([("HMGET", self._keys.thread(thread), *names)])
        found = zip(digests, values, strict=True)
        return {digest: value for digest, value in found if value is not None}

    async def thread(self, thread: ThreadKey) -> Thread | None:
        name = self._keys.thread(thread)
        (found,) = await self._sessions.get([("HMGET", name, "head", "card")])
        return _thread(thread, *found)

    async def threads(self, query: ThreadQuery) -> ThreadPage:
        return await list_threads(query, self._keys, self._sessions.get, _thread)

    async def label(self, thread: ThreadKey, card: Card) -> bool:
        place = member_of(card.time, thread.thread)
        call = self._call(LABEL, thread, pack_card(thread, card), card.version, _away(card), place)
        return bool(await self._sessions.write(call))

    async def post(self, thread: ThreadKey, message: Message) -> Message:
        call = self._call(POST, thread, message.id, pack_message(message))
        there, away, *stored = await self._sessions.write(call)
        if not there:
            if away is not None:
                raise ThreadArchivedError(thread.thread, away.decode())
            raise ThreadNotFoundError(f"There is no thread {thread.thread!r}.")
        return unpack_message(message.id, *stored)

    async def beat(self, process: Process | None) -> Sequence[Liveness]:
        call, began = self._beat(process), self._clock.monotonic()
        told = await (self._sessions.look if process is None else self._sessions.write)(call)
        if process is not None:
            self._know(process, began)
        known = (
            to_liveness(id, age, value)
            for id, age, value in zip(told[::3], told[1::3], told[2::3], strict=True)
        )
        return [one for one in known if one is not None]

    async def remove(self, thread: ThreadKey, what: Removal) -> bool:
        expected = at_of(what.expected)
        if what.everything:
            stays: list[Argument] = ["", "", "", ""]
            if (card := what.card) is not None:
                place = member_of(card.time, thread.thread)
                stays = [pack_card(thread, card), card.version, _away(card), place]
            at = b"-" if what.without_log else expected
            before = "" if what.before is None else what.before
            call = self._call(REMOVE, thread, at, before, *stays)
            return bool(await self._sessions.write(call))
        if what.expected is None:
            return False
        found = await self.thread(thread)
        if found is None or found.head is None or Position.of(found.head) != what.expected:
            return False
        fenced = replace(found.head, epoch=found.head.epoch + 1)
        numbers = [number for part in what.bodies for number in part]
        call = self._call(
            PRUNE,
            thread,
            *(expected, at_of(Position.of(fenced)), pack_head(fenced)),
            *(len(numbers), *numbers),
            *(f"b:{digest}" for digest in what.blobs),
        )
        return bool(await self._sessions.write(call))

    async def changed(self, thread: ThreadKey, seen: Position) -> None:
        name, there = self._keys.thread(thread), at_of(seen)
        while True:
            (at,) = await self._sessions.get([("HGET", name, "at")])
            if at != there:
                return
            await self._clock.sleep(_POLL)

    def statistics(self) -> Mapping[str, float]:
        """What was done since this was made.

        Returns:
            loops: event loops that use it now; connections: how many were made; round_trips:
            how often commands were sent; commands: how many; scripts: how often a script had to
            be sent because the server had forgotten it.
        """
        return self._sessions.statistics()

    async def aclose(self) -> None:
        await self._sessions.aclose()

    def _call(self, script: Script, thread: ThreadKey, *arguments: Argument) -> Call:
        return Call(script, (self._keys.thread(thread), self._keys.index(thread)), arguments)

    def _append(self, append: Append) -> Call:
        head, last, card = append.head, append.records[-1], append.card
        fields: list[Argument] = []
        checkpoints: dict[str, int] = {}
        for record in append.records:
            fields += (f"r:{record.seq}", pack_record(record))
            if record.checkpoint is not None:
                checkpoints.setdefault(record.checkpoint, record.seq)
        for checkpoint, seq in checkpoints.items():
            fields += (f"c:{checkpoint}", seq)
        for digest, value in append.blobs.items():
            fields += (f"b:{digest}", value)
        labels: tuple[Argument, ...] = ("", "", "")
        if card is not None:
            labels = (pack_card(head.key, card), card.version, _away(card))
        settled: list[str] = [text for pair in append.settled.items() for text in pair]
        return self._call(
            APPEND,
            head.key,
            *(at_of(append.expected), at_of(Position.of(head))),
            *(pack_head(head), member_of(head.updated, head.key.thread)),
            *(f"r:{last.seq}", link_of(last.link)),
            *labels,
            *(len(fields), *fields, *settled),
        )

    def _is_known(self, process: Process) -> bool:
        """Whether others will see for a while that a process is alive, by a sign that is stored."""
        return self._clock.monotonic() < self._known.get(process.id, -math.inf)

    def _know(self, process: Process, began: float) -> None:
        """A sign of life, asked for at that time, is stored."""
        known = {id: until for id, until in self._known.items() if until > began}
        # Half of the lease: the next one may be a while on its way.
        self._known = {**known, process.id: began + process.lease / 2}

    def _beat(self, process: Process | None) -> Call:
        beat = () if process is None else (process.id, pack_process(process))
        return Call(BEAT, (self._keys.processes,), (_FORGOTTEN, *beat))

    async def _look(self, script: Script, thread: ThreadKey, *arguments: Argument) -> Any:
        return await self._sessions.look(Call(script, (self._keys.thread(thread),), arguments))

    def _failed(self, wrong: Sequence[BaseException], *, all_of_them: bool) -> Exception:
        """What became of a batch of which some calls have failed, each by itself."""
        unknown = next((error for error in wrong if is_unknown(error)), None)
        if unknown is not None or all_of_them:
            return translate(unknown or wrong[0], self._sessions.where, writes=True)
        told = OutcomeUnknownError(
            f"{self._sessions.where} stored a part of what it was given at once, and failed the "
            f"rest ({wrong[0]}). Calling again finds out which."
        )
        told.__cause__ = wrong[0]
        return told


def _away(card: Card) -> str:
    """Where a card says that the log is, as scripts take it: they know no more than texts."""
    return "" if card.archived is None else f"+{card.archived}"


def _thread(key: ThreadKey, head: bytes | None, card: bytes | None) -> Thread | None:
    if head is None and card is None:
        return None
    return Thread(
        key,
        unpack_head(key, head) if head is not None else None,
        unpack_card(key, card) if card is not None else None,
    )


def _on_path(
    thread: ThreadKey, path: Ranges, befores: Sequence[Any], values: Sequence[Any]
) -> list[Record]:
    count = sum(last - first + 1 for first, last in path)
    if len(befores) != len(path) or len(values) != count:
        raise IntegrityError(f"Thread {thread.thread!r} is damaged: its path leaves its log.")
    return to_records(path, befores, values)


def _at_checkpoint(
    thread: ThreadKey,
    befores: Sequence[Any],
    values: Sequence[Any],
    commit: Sequence[Any] | None,
    seq: int,
    after: Sequence[Any],
) -> tuple[list[Record], list[Record]]:
    """What to fold for a checkpoint, and what became of its tasks."""
    if commit is None:
        return [], []
    before, value = commit
    (record,) = to_records(((seq, seq),), [before], [value])
    info = open_header(record, thread.thread).commit
    path = info.path if info is not None else ()
    rest = ((seq + 1, seq + len(after)),) if after else ()
    return (
        [*_on_path(thread, path, befores, values), record],
        to_records(rest, [value[: 1 + value[0]]] if rest else [], after),
    )


def _pieces(ranges: Ranges) -> Iterator[Ranges]:
    """Ranges in pieces, none of which has too many records."""
    piece: list[tuple[int, int]] = []
    room = _PIECE
    for first, last in ranges:
        start = max(first, 1)
        while start <= last:
            end = min(last, start + room - 1)
            piece.append((start, end))
            room -= end - start + 1
            start = end + 1
            if room == 0:
                yield tuple(piece)
                piece, room = [], _PIECE
    if piece:
        yield tuple(piece)
