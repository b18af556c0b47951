"""Keys are changed though something cannot be read: that is named, and the rest is done."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from durable_graph.encryption import Encryption, LocalKeys
from durable_graph.errors import DecryptionError, IntegrityError
from durable_graph.ports.store import PutOp
from durable_graph_sqlite import SqliteStore
from tests.runtime.encryption.kit import KEY, OTHER, everything, named, opened

OLD = LocalKeys({"old": KEY})
LOST = LocalKeys({"lost": bytes(range(64, 96))})
BOTH = LocalKeys({"new": OTHER, "old": KEY})
NEW = LocalKeys({"new": OTHER})
HOME = ("ann", "notes")


async def fill(path: Path, count: int, *lost: int) -> None:
    """Items under the old key, and some under one that nobody has any more."""
    old = SqliteStore(path, encryption=Encryption(OLD))
    other = SqliteStore(path, encryption=Encryption(LOST))
    puts = [PutOp(HOME, f"{number:03}", {"n": number}) for number in range(count)]
    await old.abatch(put for number, put in enumerate(puts) if number not in lost)
    await other.abatch(puts[number] for number in lost)
    await old.aclose()
    await other.aclose()


def damage(path: Path, *keys: str) -> None:
    """Have other bytes under these keys."""
    with closing(sqlite3.connect(path)) as db:
        for key in keys:
            db.execute("UPDATE items SET value = zeroblob(9) WHERE key = ?", (key,))
        db.commit()


async def test_all_items_but_what_is_damaged_are_rotated(tmp_path: Path) -> None:
    """Wherever those stand, among more than a page: first, last, side by side."""
    path = tmp_path / "memory.db"
    await fill(path, 230, 100)
    damage(path, "000", "007", "008", "229")
    store = SqliteStore(path, encryption=Encryption(BOTH))
    with pytest.raises(IntegrityError, match=r"5 of the stored items.*225 of them newly") as told:
        await store.arotate_keys()
    assert all(f"'{key}' in ('ann', 'notes')" in str(told.value) for key in ("000", "100", "229"))
    for key in ("000", "007", "008", "229", "100"):
        await store.adelete(HOME, key)
    assert await store.arotate_keys() == 0
    await store.aclose()
    store = SqliteStore(path, encryption=Encryption(NEW))
    assert len(await store.asearch((), limit=1000)) == 225
    await store.aclose()


@pytest.mark.parametrize("what", ["damaged", "lost"])
async def test_one_item_alone_is_told_as_wherever_it_is_read(tmp_path: Path, what: str) -> None:
    """By key and namespace."""
    path = tmp_path / "memory.db"
    await fill(path, 3, *([1] if what == "lost" else []))
    if what == "damaged":
        damage(path, "001")
    store = SqliteStore(path, encryption=Encryption(BOTH))
    expected = DecryptionError if what == "lost" else IntegrityError
    for _ in range(2):
        with pytest.raises(expected, match=r"'001' in \('ann', 'notes'\)") as told:
            await store.arotate_keys()
        assert type(told.value) is not IntegrityError
    with pytest.raises(expected, match=r"'001' in \('ann', 'notes'\)"):
        await store.asearch((), limit=10)
    await store.aclose()
    store = SqliteStore(path, encryption=Encryption(NEW))
    for key in ("000", "002"):
        assert await store.aget(HOME, key) is not None
    await store.aclose()


async def test_all_threads_but_those_of_a_lost_key_are_rotated(tmp_path: Path) -> None:
    """They are named, and stay as they are."""
    path = tmp_path / "threads.db"
    for keys, names in ((OLD, "ace"), (LOST, "bd")):
        async with opened(path, Encryption(keys)) as saver:
            for name in names:
                await everything(saver).ainvoke({"items": []}, named(name))
    async with opened(path, Encryption(BOTH)) as saver:
        with pytest.raises(DecryptionError, match=r"2 threads stay as they are.*: '[bd]', '[bd]'"):
            await saver.arotate_keys()
        with pytest.raises(DecryptionError, match="'b'"):
            await saver.arotate_keys(["a", "b", "c"])
    async with opened(path, Encryption(NEW)) as saver:
        for name in "ace":
            assert (await everything(saver).aget_state(named(name))).interrupts
