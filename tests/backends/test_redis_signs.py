"""Signs of life on Redis: who owns a thread is known to be alive before the thread is his."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from durable_graph.testing import FakeClock
from durable_graph.testing.contract_kit import Log, commit, process
from durable_graph_redis import RedisBackend
from durable_graph_redis.links import ClusterLink, PoolLink
from tests.services import redis

pytestmark = pytest.mark.services


@pytest.mark.parametrize("make", [redis.url, redis.cluster_url])
async def test_a_sign_of_life_is_stored_before_a_claim_is_sent(
    make: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever node of a cluster each goes to; and anew once the last one may be over. Between
    these, signs ride in writes."""
    address, prefix, clock = make(), redis.fresh_prefix(), FakeClock()
    watcher = RedisBackend(address, prefix=prefix)
    seen: list[tuple[bool, bool]] = []

    def noted(exchange: Any) -> Any:
        async def noting(self: Any, commands: Sequence[Any]) -> Any:
            words = [str(word) for command in commands for word in command]
            if any(f"{prefix}:{{" in word for word in words):
                known = [one.process.id for one in await watcher.beat(None)]
                rides = any(f"{prefix}:processes" in word for word in words)
                seen.append(("p" in known, rides))
            return await exchange(self, commands)

        return noting

    for kind in (PoolLink, ClusterLink):
        monkeypatch.setattr(kind, "exchange", noted(kind.exchange))
    backend, log = RedisBackend(address, prefix=prefix, clock=clock), Log()
    for seconds in (0.0, 4.0, 6.0):
        await clock.advance(seconds)
        await backend.append([log.next(commit(f"c{seconds}"))], process("p"))
    await clock.advance(1.0)
    await backend.beat(process("q"))
    await backend.append([log.next(commit("last"))], process("q"))
    # A command may be sent again, to a cluster as such or with a script that is not known yet.
    told = [entry for n, entry in enumerate(seen) if n == 0 or entry != seen[n - 1]]
    assert told == [(True, False), (True, True), (True, False), (True, True)]
    await backend.aclose()
    await watcher.aclose()
