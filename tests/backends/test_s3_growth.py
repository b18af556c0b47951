"""What a thread on S3 costs: the same for each step, however many there were before."""

from __future__ import annotations

import pytest

from durable_graph import InMemorySaver
from durable_graph.saver import Saver
from durable_graph.testing.contract_kit import Log, commit, expect_log, write
from tests.backends.kit import counting, thread
from tests.backends.s3_kit import opened
from tests.services import aws

pytestmark = pytest.mark.services

_STEPS = 60


@pytest.mark.timeout(180)
async def test_a_step_writes_as_much_at_the_end_as_at_the_beginning() -> None:
    """Bytes and requests of 60 appends are the same after 10 appends and after 1,000; all of the
    log can be read."""
    async with opened(await aws.fresh_bucket()) as backend:
        log = Log()

        async def steps(count: int) -> tuple[int, float]:
            before = backend.bucket.written, backend.statistics()["requests"]
            for _ in range(count):
                seq = log.head.seq if log.head is not None else 0
                await write(backend, log, commit(f"c{seq:06}", {"key": b'"%b"' % (b"x" * 200)}))
            now = backend.bucket.written, backend.statistics()["requests"]
            return now[0] - before[0], now[1] - before[1]

        await steps(10)
        early = await steps(_STEPS)
        # From here on a path of one range, as snapshots see to it in a real thread.
        await write(backend, log, commit("s", {"key": b"1"}, snapshot=True))
        await steps(1000 - log.now.seq)
        await write(backend, log, commit("t", {"key": b"1"}, snapshot=True))
        late = await steps(_STEPS)
        assert late[0] < 1.35 * early[0], (early, late)
        assert late[0] / _STEPS < 20_000
        assert _STEPS <= late[1] <= 1.2 * _STEPS, late
        await expect_log(backend, log)


async def test_a_superstep_is_one_request() -> None:
    """A run of many supersteps asks S3 once for each, besides a few for its beginning."""
    async with opened(await aws.fresh_bucket()) as backend:
        saver = Saver(backend)
        graph = counting(saver, 20)
        await graph.ainvoke({"items": []}, thread("warm"))
        before = backend.statistics()["requests"]
        await graph.ainvoke({"items": []}, thread("counted"))
        spent = backend.statistics()["requests"] - before
        reference = InMemorySaver()
        await counting(reference, 20).ainvoke({"items": []}, thread("counted"))
        writes = reference.statistics().writes
        # Looking at the thread, the graph's description, a sign of life, and a segment or two.
        assert writes <= spent <= writes + 8, (spent, writes)
        await saver.aclose()
