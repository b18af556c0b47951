"""Stores whose values are encrypted: found as before, and worth nothing without the key."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from durable_graph import open_store
from durable_graph.encryption import Encryption, LocalKeys
from durable_graph.encryption.items import EncryptedItems
from durable_graph.errors import ConfigError, DecryptionError, StorageError
from durable_graph.ports.memory_items import InMemoryItems
from durable_graph.store import IndexConfig, ItemStore
from durable_graph_sqlite import SqliteStore
from tests.runtime.encryption.kit import KEY, OTHER, encrypted, file_of

OLD = LocalKeys({"old": KEY})
BOTH = LocalKeys({"new": OTHER, "old": KEY})
NEW = LocalKeys({"new": OTHER})


def embed(texts: list[str]) -> list[list[float]]:
    """How often each of three letters is in a text, and that it is one."""
    return [[*(float(text.count(letter)) for letter in "abc"), 1.0] for text in texts]


INDEX: IndexConfig = {"dims": 4, "embed": embed, "fields": ["text"]}


def opened(path: Path, encryption: Encryption | None, **options: Any) -> SqliteStore:
    """A store on a file."""
    return SqliteStore(path, encryption=encryption, **options)


async def fill(path: Path, encryption: Encryption | None) -> None:
    """Two users' notes."""
    async with opened(path, encryption, index=INDEX) as store:
        for user, text in (("ann", "aaa word-one"), ("ann", "bbb word-two"), ("bob", "word-three")):
            await store.aput((user, "notes"), text[:3], {"text": text, "size": len(text)})


async def test_nothing_of_a_value_is_in_the_file(tmp_path: Path) -> None:
    """Neither its text nor its vector; namespaces and keys are. It is found by all that it was
    found by before: key, namespace, filter and meaning."""
    plain, hidden = tmp_path / "plain.db", tmp_path / "hidden.db"
    vector = b"\0\0\x40\x40"  # 3.0, how often "a" is in the first text
    for path, encryption in ((plain, None), (hidden, encrypted())):
        await fill(path, encryption)
        assert (b"word-" in file_of(path)) is (encryption is None)
        assert (vector in file_of(path)) is (encryption is None)
        assert b"notes" in file_of(path)
        async with opened(path, encryption, index=INDEX) as store:
            item = await store.aget(("ann", "notes"), "aaa")
            assert item is not None
            assert item.value == {"text": "aaa word-one", "size": 12}
            found = await store.asearch(("ann",), filter={"size": {"$gte": 12}})
            assert [each.key for each in found] == ["bbb", "aaa"]
            (near,) = await store.asearch((), query="aaaa", limit=1)
            assert near.key == "aaa"
            assert await store.alist_namespaces() == [("ann", "notes"), ("bob", "notes")]


@pytest.mark.parametrize(
    "keys", [LocalKeys({"2026": OTHER}), LocalKeys({"2027": KEY})], ids=["wrong", "unknown"]
)
async def test_another_key_reads_nothing(keys: LocalKeys, tmp_path: Path) -> None:
    """Reading and searching are refused in the same words, and nothing is overwritten by it."""
    path = tmp_path / "memory.db"
    await fill(path, encrypted())
    async with opened(path, Encryption(keys)) as store:
        for call in (store.aget(("ann", "notes"), "bbb"), store.asearch(("ann",), limit=1)):
            with pytest.raises(DecryptionError, match=r"under 'bbb' in \('ann', 'notes'\)"):
                await call
        assert await store.alist_namespaces(prefix=("bob",)) == [("bob", "notes")]
        await store.adelete(("bob", "notes"), "wor")
    async with opened(path, encrypted()) as store:
        assert [each.key for each in await store.asearch(())] == ["bbb", "aaa"]


@pytest.mark.parametrize("move", ["another key", "another version", "a changed byte", "in clear"])
async def test_a_value_is_bound_to_its_place(move: str) -> None:
    """What was put under another key, or there before, or was changed, is refused."""
    kept = InMemoryItems()
    store = ItemStore(kept, encryption=encrypted())
    place, other = (("ann", "notes"), "one"), (("ann", "notes"), "two")
    for text in ("first", "second"):
        before = kept._at(place, 0.0)
        await store.aput(*place, {"text": text})
    await store.aput(*other, {"text": "other"})
    now, others = kept._at(place, 0.0), kept._at(other, 0.0)
    assert before is not None
    assert now is not None
    assert others is not None
    value = {
        "another key": others.value,
        "another version": before.value,
        "a changed byte": now.value[:-1] + bytes([now.value[-1] ^ 1]),
        "in clear": b'{"text":"forged"}',
    }[move]
    kept._keep(replace(now, value=value))
    with pytest.raises(DecryptionError, match="under 'one'"):
        await store.aget(*place)
    assert await store.aget(*other)
    kept._keep(now)
    assert await store.aget(*place)


async def test_one_can_go_over_to_encryption(tmp_path: Path) -> None:
    """What lies in the clear is read with `required=False` alone; rotating encrypts it."""
    path = tmp_path / "memory.db"
    await fill(path, None)
    async with opened(path, encrypted()) as store:
        with pytest.raises(DecryptionError):
            await store.aget(("ann", "notes"), "aaa")
    async with opened(path, encrypted(required=False), index=INDEX) as store:
        assert await store.arotate_keys() == 3
        assert await store.arotate_keys() == 0
    async with opened(path, encrypted(), index=INDEX) as store:
        (near,) = await store.asearch((), query="bbbb", limit=1)
        assert near.value["text"] == "bbb word-two"


async def test_rotation_changes_nothing_else(tmp_path: Path) -> None:
    """After it the old key is not needed; versions, times and lifetimes are as they were."""
    path = tmp_path / "memory.db"
    await fill(path, Encryption(OLD))
    async with opened(path, Encryption(BOTH)) as store:
        await store.aput(("bob", "notes"), "new", {"text": "x"}, ttl=1000)
        before = await store.asearch((), limit=10)
        assert await store.arotate_keys() == 3
        assert await store.asearch((), limit=10) == before
    async with opened(path, Encryption(NEW)) as store:
        assert await store.asearch((), limit=10) == before
        (item, *_) = before
        await store.aput(item.namespace, item.key, {"text": "next"}, if_version=item.version)


async def test_more_than_a_page_is_rotated(tmp_path: Path) -> None:
    """All that there is, however much."""
    path = tmp_path / "memory.db"
    async with opened(path, Encryption(OLD)) as store:
        for number in range(450):
            await store.aput(("n",), str(number), {"n": number})
    async with opened(path, Encryption(BOTH)) as store:
        assert await store.arotate_keys() == 450
    async with opened(path, Encryption(NEW)) as store:
        found = await store.asearch((), limit=1000)
        assert [item.value["n"] for item in found] == list(range(449, -1, -1))


class Service:
    """A key management service that counts, and is sometimes not there."""

    def __init__(self) -> None:
        self.keys = LocalKeys({"k": KEY})
        self.current = "k"
        self.there = True
        self.asked: list[str] = []

    async def wrap(self, key_id: str, secret: bytes, context: Mapping[str, str]) -> bytes:
        return await self._answer("wrap", await self.keys.wrap(key_id, secret, context))

    async def unwrap(self, key_id: str, wrapped: bytes, context: Mapping[str, str]) -> bytes:
        return await self._answer("unwrap", await self.keys.unwrap(key_id, wrapped, context))

    async def _answer(self, what: str, answer: bytes) -> bytes:
        self.asked.append(what)
        if not self.there:
            raise ConnectionError("word-secret")
        return answer


async def test_a_service_is_asked_once_for_many_values(tmp_path: Path) -> None:
    """A process makes one key for all it writes, and has each unwrapped once that it meets; where
    the service is not there, that is told and nothing is written."""
    path, service = tmp_path / "memory.db", Service()
    for turn in range(2):
        async with opened(path, Encryption(service)) as store:
            for number in range(20):
                await store.aput(("n",), f"{turn}-{number}", {"n": number})
            assert len(await store.asearch((), limit=100)) == 20 * (turn + 1)
    assert service.asked == ["wrap", "wrap", "unwrap"]
    service.there = False
    async with opened(path, Encryption(service)) as store:
        with pytest.raises(StorageError, match="ConnectionError") as told:
            await store.aput(("n",), "x", {})
        assert "word-secret" not in str(told.value)
        with pytest.raises(StorageError):
            await store.aget(("n",), "0-0")
        service.there = True
        assert await store.aget(("n",), "x") is None
        assert await store.aget(("n",), "0-0")


def test_without_async_and_by_url(tmp_path: Path) -> None:
    """Through the synchronous face, and from a URL."""
    store: Any = open_store(f"sqlite:///{tmp_path}/memory.db", encryption=encrypted())
    store.put(("a",), "k", {"text": "word-one"})
    assert isinstance(store.items, EncryptedItems)
    assert not store.capabilities.immediate
    assert store.get(("a",), "k").value == {"text": "word-one"}
    assert store.rotate_keys() == 0
    assert b"word-" not in file_of(tmp_path / "memory.db")


async def test_what_does_not_encrypt_has_no_keys(tmp_path: Path) -> None:
    """Rotating says so."""
    async with opened(tmp_path / "memory.db", None) as store:
        with pytest.raises(ConfigError, match="does not encrypt"):
            await store.arotate_keys()
