"""Each backend and the in-memory model, driven with the same calls: every answer is the same."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, Phase, note, settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from durable_graph.errors import DurableGraphError
from durable_graph.log.records import Ranges, Status, ThreadKey
from durable_graph.log.seal import Draft
from durable_graph.ports.backend import (
    Append,
    Backend,
    Card,
    Outcome,
    Position,
    Reading,
    Removal,
    Scalar,
    ThreadPage,
    ThreadQuery,
)
from durable_graph.ports.memory import InMemoryBackend
from durable_graph.testing import FakeClock
from durable_graph.testing.contract_kit import Log, commit, mark, message, process, results
from durable_graph_aws import AwsOptions
from durable_graph_dynamodb import DynamoDBBackend
from durable_graph_postgres import PostgresBackend
from durable_graph_redis import RedisBackend
from durable_graph_s3 import S3Backend
from durable_graph_s3 import index as s3_index
from durable_graph_s3 import manifest as s3_manifest
from durable_graph_sqlite.backend import SqliteBackend
from tests.services import aws, postgres, redis

TORTURE = "DURABLE_GRAPH_TORTURE" in os.environ

KEYS = [ThreadKey("", "a"), ThreadKey("", "a b"), ThreadKey("t", "a")]
# A digest names its content: under one digest there is never anything else.
BLOBS = {"d1": b"", "d2": b"two", "d3": b"\x00\xff"}
DIGESTS = list(BLOBS)
IDS = ["m1", "m2"]
OWNERS = [None, "ann", "bob"]
TAGS = [(), ("a",), ("a", "b"), ("b",)]
METADATA: list[dict[str, Scalar]] = [{}, {"n": 1}, {"n": True}, {"n": 1.0, "s": "1"}, {"s": None}]
STATUSES: list[Status] = ["running", "finished", "failed", "asking", "stopped"]


def _ascending(pairs: list[tuple[int, int]]) -> Ranges:
    """Pairs as ranges: ascending, and apart."""
    found: list[tuple[int, int]] = []
    for first, last in sorted((min(pair), max(pair)) for pair in pairs):
        if not found or first > found[-1][1]:
            found.append((first, last))
    return tuple(found)


keys = st.sampled_from(KEYS)
# Mostly where the log stands: a log that refuses everything stays empty.
positions = st.just("now") | st.sampled_from(["now", "none", "before", "epoch", "link", "seq"])
drafts = st.lists(st.sampled_from(["commit", "snapshot", "branch", "results", "mark"]), min_size=1)
blobs = st.sets(st.sampled_from(DIGESTS), max_size=2).map(
    lambda names: {n: BLOBS[n] for n in names}
)
settled = st.dictionaries(st.sampled_from(IDS), st.text(max_size=5), max_size=2)
times = st.sampled_from([1.0, 1.5, 1.5, 2.0, 2.0000000001, 1e9, 1e9 + 2**-22])
ends = st.integers(-1, 12)
ranges = st.lists(st.tuples(ends, ends), max_size=3).map(_ascending)


class Machine(RuleBasedStateMachine):
    """Two backends and what was done to both."""

    backend: Callable[..., Backend] = SqliteBackend
    own_clock = True
    """Whether the other goes by the clock that it is given, also for signs of life."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.folder = tempfile.TemporaryDirectory()
        self.clock = FakeClock()
        self.model = InMemoryBackend(self.clock)
        self.other = self.open()
        self.logs = {key: Log(key.thread, tenant=key.tenant) for key in KEYS}
        self.earlier: dict[ThreadKey, list[Append]] = {key: [] for key in KEYS}
        self.checkpoints = ["none"]
        self.cards: dict[ThreadKey, int] = {}

    def open(self) -> Backend:
        """An instance on the same storage."""
        path = Path(self.folder.name) / "threads.db"
        return self.backend(path, synchronous="normal", clock=self.clock)

    def teardown(self) -> None:
        self.runner.run(self.other.aclose())
        self.runner.close()
        self.folder.cleanup()

    def both(self, call: Callable[[Backend], Awaitable[Any]]) -> Any:
        """Make a call to both, and expect the same answer."""

        async def answer(backend: Backend) -> Any:
            try:
                return _plain(await call(backend), ages=self.own_clock)
            except DurableGraphError as error:
                return type(error).__name__, str(error)

        wanted = self.runner.run(answer(self.model))
        got = self.runner.run(answer(self.other))
        note(f"-> {wanted!r}"[:200])
        assert got == wanted
        return wanted

    # -- what is done to both ----------------------------------------------------------------------

    @rule(
        key=keys,
        position=positions,
        kinds=drafts,
        blobs=blobs,
        settled=settled,
        status=st.sampled_from(STATUSES),
        at=times,
        raised=st.booleans(),
    )
    def append(
        self,
        key: ThreadKey,
        position: str,
        kinds: list[str],
        blobs: dict[str, bytes],
        settled: dict[str, str],
        status: Status,
        at: float,
        raised: bool,
    ) -> None:
        """Append, at the right position or at a wrong one."""
        log = self.logs[key]
        append = log.next(
            *(self.draft(kind, log, place) for place, kind in enumerate(kinds)),
            blobs=blobs,
            settled=settled,
            status=status,
            owner="owner" if status == "running" else None,
            at=at,
            epoch=log.now.epoch + 1 if raised and log.head is not None else None,
        )
        append = replace(append, expected=self.position(position, log))
        self.do_append([append])

    @rule(picked=st.lists(keys, unique=True, min_size=2, max_size=4), stale=st.booleans())
    def append_batch(self, picked: list[ThreadKey], stale: bool) -> None:
        """Append to several threads at once, perhaps to one of them at a wrong position."""
        batch = [
            self.logs[key].next(results(), mark(), blobs={"d2": BLOBS["d2"]}) for key in picked
        ]
        if stale:
            batch[0] = replace(batch[0], expected=Position(1, 1, b"stale"))
        self.do_append(batch)

    @precondition(lambda self: any(self.earlier.values()))
    @rule(data=st.data())
    def append_again(self, data: st.DataObject) -> None:
        """Ask for an append once more that was answered before, one way or the other."""
        known = [append for appends in self.earlier.values() for append in appends]
        self.do_append([data.draw(st.sampled_from(known))])

    @rule(key=keys, id=st.sampled_from(IDS), body=st.binary(max_size=10))
    def post(self, key: ThreadKey, id: str, body: bytes) -> None:
        """Leave a message."""
        self.both(lambda backend: backend.post(key, message(id, body)))

    @rule(key=keys)
    def remove(self, key: ThreadKey) -> None:
        """Remove a thread."""
        self.both(lambda backend: backend.remove(key, Removal(everything=True)))
        self.cards.pop(key, None)
        fresh = Log(key.thread, tenant=key.tenant)
        self.logs[key] = fresh

    @rule(key=keys, position=positions, ahead=st.sampled_from([0, 1, 1, 1, 2]))
    def archive(self, key: ThreadKey, position: str, ahead: int) -> None:
        """Remove a thread, if it has not moved, and leave a card that says where it went."""
        card = Card(max(self.cards.get(key, 0) + ahead, 1), archived="elsewhere")
        what = Removal(everything=True, expected=self.position(position, self.logs[key]), card=card)
        if self.both(lambda backend: backend.remove(key, what)):
            self.cards[key] = card.version
            self.logs[key] = Log(key.thread, tenant=key.tenant)

    @rule(key=keys, ahead=st.sampled_from([0, 1, 1, 1]))
    def begin(self, key: ThreadKey, ahead: int) -> None:
        """Bring a log with its card, as one that comes back from an archive."""
        card = Card(max(self.cards.get(key, 0) + ahead, 1))
        log = Log(key.thread, tenant=key.tenant)
        append = replace(log.next(self.draft("commit", log)), card=card)
        self.do_append([append])
        known = self.runner.run(self.model.thread(key))
        self.cards[key] = known.card.version if known is not None and known.card else 0

    @rule(
        key=keys,
        position=positions,
        bodies=ranges,
        digests=st.lists(st.sampled_from(DIGESTS), max_size=2),
    )
    def prune(self, key: ThreadKey, position: str, bodies: Ranges, digests: list[str]) -> None:
        """Remove a part of a thread."""
        part = Removal(
            expected=self.position(position, self.logs[key]), bodies=bodies, blobs=digests
        )
        self.both(lambda backend: backend.remove(key, part))

    @rule(id=st.sampled_from(["p1", "p2"]), elapsed=st.integers(0, 5))
    def beat(self, id: str, elapsed: int) -> None:
        """Let time pass; give a sign of life."""
        self.runner.run(self.clock.advance(elapsed))
        self.both(lambda backend: backend.beat(process(id)))

    @rule()
    def reopen(self) -> None:
        """Close the other and open it again; it is the same as before."""
        self.runner.run(self.other.aclose())
        self.other = self.open()

    # -- what is asked of both ---------------------------------------------------------------------

    @rule(key=keys, position=positions, data=st.data())
    def read(self, key: ThreadKey, position: str, data: st.DataObject) -> None:
        """Read a thread, at its head or at a checkpoint."""
        unless = self.position(position, self.logs[key])
        self.both(lambda backend: backend.read(key, unless=unless))
        checkpoint = data.draw(st.sampled_from(self.checkpoints))
        self.both(lambda backend: backend.read(key, checkpoint))

    @rule(key=keys, ranges=ranges, bodies=st.booleans())
    def scan(self, key: ThreadKey, ranges: Ranges, bodies: bool) -> None:
        """Read records by number."""
        self.both(lambda backend: backend.scan(key, ranges, bodies=bodies))

    @rule(key=keys, digests=st.lists(st.sampled_from(DIGESTS)))
    def blobs(self, key: ThreadKey, digests: list[str]) -> None:
        """Read large values."""
        self.both(lambda backend: backend.blobs(key, digests))

    @rule(
        key=keys,
        ahead=st.sampled_from([0, 1, 1, 1, 2]),
        owner=st.sampled_from(OWNERS),
        tags=st.sampled_from(TAGS),
        metadata=st.sampled_from(METADATA),
        expires=st.none() | times,
        archived=st.sampled_from([None, None, None, "elsewhere"]),
        time=times,
    )
    def label(self, key: ThreadKey, ahead: int, **parts: Any) -> None:
        """Put a card on a thread, of the version that is due or of another."""
        version = self.cards.get(key, 0) + ahead
        if version > 0 and self.both(lambda backend: backend.label(key, Card(version, **parts))):
            self.cards[key] = version

    @rule(key=keys)
    def thread(self, key: ThreadKey) -> None:
        """Look at a thread without what it holds."""
        self.both(lambda backend: backend.thread(key))

    @rule(
        tenant=st.sampled_from(["", "t"]),
        status=st.none() | st.sampled_from([*STATUSES, "new"]),
        owner=st.sampled_from(OWNERS),
        tags=st.sampled_from(TAGS),
        metadata=st.sampled_from(METADATA),
        since=st.none() | times,
        until=st.none() | times,
        expired=st.none() | times,
        limit=st.integers(1, 3),
    )
    def threads(self, **parts: Any) -> None:
        """List threads, page by page."""
        query = ThreadQuery(**parts)
        for _ in range(len(KEYS) + 1):
            _, after = self.both(partial(_page, query))
            if after is None:
                return
            query = replace(query, after=after)
        raise AssertionError("Following the pages does not end.")

    @invariant()
    def liveness_is_the_same(self) -> None:
        """Both know the same processes."""
        self.both(lambda backend: backend.beat(None))

    # -- helpers -----------------------------------------------------------------------------------

    def do_append(self, batch: list[Append]) -> None:
        """Append to both, and note what was answered."""
        answers = self.both(lambda backend: backend.append(batch))
        for append, answer in zip(batch, answers, strict=True):
            log = self.logs[append.head.key]
            self.earlier[append.head.key].append(append)
            now = None if log.head is None else log.position
            if answer is Outcome.APPLIED and append.expected == now:
                log.accept(append)
                self.checkpoints += [r.checkpoint for r in append.records if r.checkpoint]

    def draft(self, kind: str, log: Log, place: int = 0) -> Draft:
        """A record of some kind, the so many-th of an append; no two checkpoints share an id."""
        id = f"c{len(self.checkpoints)}.{place}"
        if kind == "branch" and log.head is not None:
            return commit(id, onto=(((1, 1),), 1))
        if kind in ("commit", "snapshot", "branch"):
            return commit(id, snapshot=kind == "snapshot")
        return results() if kind == "results" else mark()

    def position(self, name: str, log: Log) -> Position | None:
        """The position of a log, or one beside it."""
        if log.head is None:
            return None if name in ("now", "none") else Position(1, 1, b"link")
        now = log.position
        match name:
            case "now":
                return now
            case "before":
                return replace(now, seq=now.seq - 1, link=log.records[-1].previous)
            case "epoch":
                return replace(now, epoch=now.epoch + 1)
            case "link":
                return replace(now, link=bytes(32))
            case "seq":
                return replace(now, seq=now.seq + 1)
        return None


RUNS = settings(
    max_examples=1000 if TORTURE else 40,
    stateful_step_count=50,
    deadline=None,
    derandomize=not TORTURE,
    database=None,
    print_blob=False,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


@pytest.mark.timeout(3600 if TORTURE else 60)
def test_sqlite_does_what_the_model_does() -> None:
    """Whatever is done to both, SQLite gives the answers of the in-memory model."""
    run_state_machine_as_test(Machine, settings=RUNS)


class OnPostgres(Machine):
    """The model and PostgreSQL, in a schema of its own."""

    own_clock = False

    def open(self) -> Backend:
        """An instance on the same storage."""
        if not hasattr(self, "schema"):
            self.schema = postgres.emptied_schema()
        return PostgresBackend(postgres.dsn(), schema=self.schema, clock=self.clock)


@pytest.mark.services
@pytest.mark.timeout(3600 if TORTURE else 60)
def test_postgres_does_what_the_model_does() -> None:
    """Whatever is done to both, PostgreSQL gives the answers of the in-memory model."""
    run_state_machine_as_test(OnPostgres, settings=RUNS)


class OnRedis(Machine):
    """The model and Redis, under a prefix of its own."""

    own_clock = False

    def open(self) -> Backend:
        """An instance on the same storage."""
        if not hasattr(self, "prefix"):
            self.prefix = redis.fresh_prefix()
        return RedisBackend(redis.url(), prefix=self.prefix, clock=self.clock)


@pytest.mark.services
@pytest.mark.timeout(3600 if TORTURE else 180)
def test_redis_does_what_the_model_does() -> None:
    """Whatever is done to both, Redis gives the answers of the in-memory model."""
    few = settings(RUNS, max_examples=1000 if TORTURE else 20)
    run_state_machine_as_test(OnRedis, settings=few)


class OnDynamoDB(Machine):
    """The model and a table of its own."""

    own_clock = False

    def open(self) -> Backend:
        """An instance on the same storage."""
        if not hasattr(self, "table"):
            self.table = aws.fresh_name()
        options = AwsOptions.of(aws.options())
        return DynamoDBBackend(
            self.table, options, create=True, session=aws.session(), clock=self.clock
        )


@pytest.mark.services
@pytest.mark.timeout(3600 if TORTURE else 300)
def test_dynamodb_does_what_the_model_does() -> None:
    """Whatever is done to both, DynamoDB gives the answers of the in-memory model."""
    few = settings(RUNS, max_examples=100 if TORTURE else 3, stateful_step_count=15)
    run_state_machine_as_test(OnDynamoDB, settings=few)


class OnS3(Machine):
    """The model and S3, under a prefix of its own."""

    own_clock = False
    bucket = ""

    def open(self) -> Backend:
        """An instance on the same storage."""
        if not hasattr(self, "prefix"):
            self.prefix = aws.fresh_name()
        options = AwsOptions(**aws.options())
        return S3Backend(self.bucket, self.prefix, options, session=aws.session(), clock=self.clock)


@pytest.mark.services
@pytest.mark.timeout(3600 if TORTURE else 180)
def test_s3_does_what_the_model_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is done to both, S3 gives the answers of the in-memory model; with segments and
    index objects so small that these logs have many."""
    monkeypatch.setattr(OnS3, "bucket", asyncio.run(aws.fresh_bucket()))
    monkeypatch.setattr(s3_manifest, "_TAIL", 1200)
    monkeypatch.setattr(s3_manifest, "_SEGMENT", 1800)
    monkeypatch.setattr(s3_manifest, "_VERDICTS", 1)
    monkeypatch.setattr(s3_index, "FANOUT", 2)
    few = settings(RUNS, max_examples=300 if TORTURE else 6)
    run_state_machine_as_test(OnS3, settings=few)


def test_a_difference_is_found() -> None:
    """A backend whose heads are a second off, and nothing else, differs from the model."""

    class Late(SqliteBackend):
        async def read(self, *args: Any, **options: Any) -> Reading | None:
            reading = await super().read(*args, **options)
            if reading is None:
                return None
            head = replace(reading.head, updated=reading.head.updated + 1)
            return replace(reading, head=head)

    class Differs(Machine):
        backend = Late

    with pytest.raises(AssertionError):
        run_state_machine_as_test(Differs, settings=settings(RUNS, phases=[Phase.generate]))


async def _page(query: ThreadQuery, backend: Backend) -> ThreadPage:
    return await backend.threads(query)


def _plain(answer: Any, *, ages: bool = True) -> Any:
    """An answer with lists for its sequences, so that it can be compared."""
    if isinstance(answer, Reading):
        return (
            answer.head,
            list(answer.records),
            list(answer.after),
            list(answer.messages),
        )
    if isinstance(answer, ThreadPage):
        return list(answer.threads), answer.next
    if isinstance(answer, dict):
        return dict(answer)
    if answer and not ages and isinstance(answer, (list, tuple)) and hasattr(answer[0], "age"):
        return sorted((entry.process for entry in answer), key=repr)
    if isinstance(answer, (list, tuple)):
        return sorted(answer, key=repr) if answer and hasattr(answer[0], "age") else list(answer)
    return answer
