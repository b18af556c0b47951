"""What is stored of graphs within graphs is not done again, wherever the process has died."""

from __future__ import annotations

from pathlib import Path

import pytest

from durable_graph.log.fold import Scope
from durable_graph.log.records import Commit, TaskResults, ThreadKey
from durable_graph.log.seal import open_record
from durable_graph.testing.crash import When
from tests.crash.harness.round import THREAD, Round
from tests.crash.harness.scripts import SCRIPTS


async def stored(round_: Round) -> set[str]:
    """The tasks, of all graphs of the thread, whose results its log has."""
    async with round_.storage.life() as (saver, _):
        key = ThreadKey.of(THREAD)
        reading = await saver.backend.read(key)
        if reading is None:
            return set()
        records = await saver.backend.scan(key, ((1, reading.head.seq),))
    root, done = Scope(), set()
    for record in records:
        header, body = open_record(record, reading.head.secret, THREAD)
        scope = root.nested.get(header.ns) if header.ns else root
        if scope is not None and isinstance(body, (Commit, TaskResults)):
            ended = [o.index for o in body.outcomes if o.done and o.index >= 0]
            done |= {scope.due[index].id for index in ended}
        root.apply(header, body)
    return done


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("name", ["nested", "nested, watched", "calling"])
async def test_what_is_stored_is_not_done_again(name: str, when: When, tmp_path: Path) -> None:
    """On no level, and whether or not anybody had been told."""
    at, crashed, seen = 0, True, 0
    while crashed:
        at += 1
        assert at < 200, "it never comes through"
        one = Round(SCRIPTS[name], "sync", "memory", tmp_path / f"{at}")
        crashed = (await one.live(at, when)).crashed
        before = len(one.effects.read())
        done = await stored(one)
        if crashed:
            await one.live()
        again = [e for e in one.effects.read()[before:] if e.what == "start" and e.task in done]
        assert again == [], f"After a crash {when} call {at}."
        seen += len(done)
        one.effects.close()
        one.acks.close()
    assert seen > 100
