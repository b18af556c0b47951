"""Random batches: stores do what the one in memory does, and so does a node's view of one."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from durable_graph import InMemoryStore
from durable_graph.decisions.items import Pending
from durable_graph.errors import StoreConflictError
from durable_graph.ports.store import (
    NOT_GIVEN,
    GetOp,
    Item,
    ListNamespacesOp,
    MatchCondition,
    Op,
    PutOp,
    SearchOp,
)
from durable_graph.store import ItemStore
from durable_graph.testing import FakeClock
from durable_graph.testing.store_contract_kit import embed
from durable_graph_dynamodb import DynamoDBStore
from durable_graph_sqlite import SqliteStore
from tests.backends.kit import TORTURE
from tests.services import aws

_EXAMPLES = 1000 if TORTURE else 60
# A service takes a hundred times as long as memory.
_EXAMPLES_AFAR = 200 if TORTURE else 15

words = st.sampled_from(["a", "b", "a:b", "%", "_", "é"])
names = st.lists(words, min_size=1, max_size=3).map(tuple)
keys = st.sampled_from(["k", "l", "K"])
texts = st.text("ab", max_size=3)
values = st.fixed_dictionaries({"n": st.integers(0, 3), "t": texts})
prefixes = st.lists(words, max_size=2).map(tuple)
filters = st.none() | st.fixed_dictionaries(
    {"n": st.fixed_dictionaries({"$gte": st.integers(0, 3)})}
)
lifetimes = st.none() | st.sampled_from([1.0, 2.0])
limits, offsets = st.integers(0, 4), st.integers(0, 2)
conditions = st.tuples(st.sampled_from(["prefix", "suffix"]), prefixes).map(
    lambda a: MatchCondition(*a)  # type: ignore[arg-type]
)

# Versions differ from store to store: a condition is whether the item is as it was read last.
puts = st.tuples(names, keys, st.none() | values, st.none(), lifetimes).map(lambda a: PutOp(*a))
cautious = st.tuples(names, keys, values, st.booleans())
gets = st.tuples(names, keys, st.booleans()).map(lambda a: GetOp(*a))
searches = st.tuples(prefixes, filters, limits, offsets, st.none() | texts, st.booleans()).map(
    lambda a: SearchOp(*a)
)
lists = st.tuples(
    st.lists(conditions, max_size=1), st.none() | st.integers(1, 2), limits, offsets
).map(lambda a: ListNamespacesOp(*a))
ops: st.SearchStrategy[Any] = st.one_of(puts, puts, cautious, gets, searches, lists)
moments = st.sampled_from([0.0, 40.0, 90.0])
batches = st.lists(st.tuples(st.lists(ops, max_size=5), moments), max_size=8)


def _plain(result: Any) -> Any:
    """A result without what differs from store to store."""
    if isinstance(result, list):
        return [_plain(one) for one in result]
    if isinstance(result, Item):
        score = getattr(result, "score", None)
        return (result.dict(), result.expires_at, None if score is None else round(score, 6))
    return result


class _Reader:
    """Runs batches on a store, and remembers which versions it has read."""

    def __init__(self, store: Any) -> None:
        self.store = store
        self.seen: dict[Any, int] = {}

    async def run(self, batch: list[Any]) -> Any:
        """What a batch returns, or that it was refused."""
        for name, key in {(op[0], op[1]) for op in batch if type(op) is tuple}:
            item = await self.store.aget(name, key, refresh_ttl=False)
            self.seen.setdefault((name, key), 0 if item is None else item.version)
        try:
            return [_plain(result) for result in await self.store.abatch(map(self._op, batch))]
        except StoreConflictError:
            return "a conflict"  # of which of them, depends on what is compared first

    def _op(self, op: Any) -> Op:
        if type(op) is not tuple:
            given: Op = op
            return given
        name, key, value, careless = op
        expected = NOT_GIVEN if careless else self.seen[name, key]
        return PutOp(name, key, value, if_version=expected)


def _make(kind: str, folder: str, clock: FakeClock) -> ItemStore:
    index: Any = {"dims": 4, "embed": embed, "fields": ["t"]}
    if kind == "dynamodb":
        reached = {**aws.options(), "session": aws.session()}
        return DynamoDBStore(aws.fresh_name(), create=True, index=index, clock=clock, **reached)
    if kind == "sqlite":
        return SqliteStore(
            Path(folder) / "memory.db", index=index, clock=clock, synchronous="normal"
        )
    return InMemoryStore(index=index, clock=clock)


@pytest.mark.parametrize(
    "kind",
    [
        "sqlite",
        "node's view",
        "node's view on sqlite",
        pytest.param("dynamodb", marks=pytest.mark.services),
    ],
)
def test_stores_do_the_same(kind: str) -> None:
    """Whatever is put, read, searched and listed, in whatever batches, while time goes by."""

    examples = _EXAMPLES_AFAR if kind == "dynamodb" else _EXAMPLES

    @settings(max_examples=examples, deadline=None, derandomize=not TORTURE, database=None)
    @given(batches)
    def law(given_batches: list[tuple[list[Any], float]]) -> None:
        asyncio.run(_compare(kind, given_batches))

    law()


async def _nothing() -> None:
    """Nothing is on its way."""


async def _compare(kind: str, given_batches: list[tuple[list[Any], float]]) -> None:
    clocks = [FakeClock(), FakeClock()]
    with tempfile.TemporaryDirectory() as folder:
        model = InMemoryStore(index={"dims": 4, "embed": embed, "fields": ["t"]}, clock=clocks[0])
        other = _make(kind.removeprefix("node's view on "), folder, clocks[1])
        view: Any = other.gathering(Pending(), _nothing) if "view" in kind else other
        one, two = _Reader(model), _Reader(view)
        for batch, seconds in given_batches:
            assert await two.run(batch) == await one.run(batch), batch
            for clock in clocks:
                await clock.advance(seconds)
        if "view" in kind:
            await other.write(two.store.take())
        everything = [SearchOp((), limit=100, refresh_ttl=False), ListNamespacesOp()]
        assert await _Reader(other).run(everything) == await one.run(everything)
        await other.aclose()
