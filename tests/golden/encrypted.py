"""An encrypted thread as the first format of encryption stored it, in one file.

``python -m tests.golden.encrypted`` writes one, where there is none: the file stays as it is, and
must read the same for ever. Another format of encryption gets a file of its own.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Final

from durable_graph import InMemorySaver
from durable_graph.encryption import Encryption, LocalKeys
from durable_graph.encryption.backend import EncryptedBackend
from durable_graph.log.records import ThreadKey
from durable_graph.ports.backend import Append, Message
from durable_graph.ports.threadfile import read_thread, whole_thread, write_thread
from durable_graph.saver import Saver
from tests.runtime.encryption.kit import KEY, OTHER, everything, named

__all__ = ["FILE", "LEFT", "brought"]

FILE: Final = Path(__file__).parent / "encrypted_1.thread"
LEFT: Final = Message("left", "answer", b'{"answers":{}}', "somebody", 1234.5)
"""What waits in the thread's inbox."""

_THREAD: Final = ThreadKey("", "thread")
_KEYS: Final = {"first": KEY, "second": OTHER}


async def brought() -> Saver:
    """A saver in memory that has the thread of the file."""
    saver = InMemorySaver(encryption=Encryption(LocalKeys({"second": OTHER})))
    assert isinstance(saver.backend, EncryptedBackend)
    whole = read_thread(FILE.read_bytes())
    inner = saver.backend.inner
    await inner.append([Append(None, whole.head, whole.records, whole.blobs, {})])
    for message in whole.messages:
        await inner.post(_THREAD, message)
    return saver


async def _write() -> None:
    """A thread that asks, with something in its inbox and its second key."""
    saver = InMemorySaver(encryption=Encryption(LocalKeys(_KEYS, current="first")))
    await everything(saver).ainvoke({"items": ["word-input"]}, named("thread"))
    assert isinstance(saver.backend, EncryptedBackend)
    later = InMemorySaver(encryption=Encryption(LocalKeys(_KEYS, current="second")))
    assert isinstance(later.backend, EncryptedBackend)
    later.backend.inner = saver.backend.inner
    assert await later.arotate_keys() == []
    await later.backend.post(_THREAD, LEFT)
    whole = await whole_thread(saver.backend.inner, _THREAD)
    assert whole is not None
    with FILE.open("xb") as file:
        file.write(write_thread(whole))


if __name__ == "__main__":
    asyncio.run(_write())
