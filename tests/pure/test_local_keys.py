"""`LocalKeys`: which keys it takes, from where, and what it tells of them, which is nothing."""

from __future__ import annotations

import asyncio
import base64
from pathlib import Path
from typing import Any

import pytest

from durable_graph.encryption import LocalKeys
from durable_graph.errors import ConfigError, DecryptionError

OLD, NEW = bytes(range(32)), bytes(range(32, 64))
CONTEXT = {"for": "test", "thread": "t"}


def text_of(**keys: bytes) -> str:
    return " ".join(f"{name}:{base64.b64encode(key).decode()}" for name, key in keys.items())


def wrapped(keys: LocalKeys, key_id: str, context: dict[str, str] = CONTEXT) -> bytes:
    return asyncio.run(keys.wrap(key_id, b"secret", context))


def unwrapped(
    keys: LocalKeys, key_id: str, data: bytes, context: dict[str, str] = CONTEXT
) -> bytes:
    return asyncio.run(keys.unwrap(key_id, data, context))


def test_what_one_key_wraps_it_unwraps() -> None:
    """Also in another process, and after another key has become the current one."""
    before = LocalKeys({"old": OLD})
    data = wrapped(before, "old")
    assert b"secret" not in data
    after = LocalKeys({"old": OLD, "new": NEW}, current="new")
    assert (before.current, after.current) == ("old", "new")
    assert unwrapped(after, "old", data) == b"secret"
    assert unwrapped(after, "new", wrapped(after, "new")) == b"secret"


def test_everything_else_is_one_error() -> None:
    """An unknown key, a wrong one, another context and changed bytes all say the same."""
    keys = LocalKeys({"old": OLD, "new": NEW})
    data = wrapped(keys, "old")
    tries: list[tuple[LocalKeys, str, bytes, dict[str, str]]] = [
        (keys, "none", data, CONTEXT),
        (keys, "new", data, CONTEXT),
        (LocalKeys({"old": NEW}), "old", data, CONTEXT),
        (keys, "old", data, {**CONTEXT, "thread": "u"}),
        (keys, "old", data, {"for": "test"}),
        (keys, "old", data[:-1] + bytes([data[-1] ^ 1]), CONTEXT),
        (keys, "old", data[:-1], CONTEXT),
        (keys, "old", b"", CONTEXT),
    ]
    told = set()
    for holder, key_id, given, context in tries:
        with pytest.raises(DecryptionError) as refused:
            unwrapped(holder, key_id, given, context)
        told.add(str(refused.value))
    assert len(told) == 1


def test_the_same_key_under_another_id_is_another() -> None:
    """A secret is bound to the id that it says it is wrapped under."""
    keys = LocalKeys({"a": OLD, "b": OLD})
    with pytest.raises(DecryptionError):
        unwrapped(keys, "b", wrapped(keys, "a"))


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({}, "at least one"),
        ("key", "at least one"),
        ({"a": b"short"}, "'a' is to have 32 random bytes.* it is 5 bytes"),
        ({"a": "x" * 32}, "it is a str"),
        ({"a": OLD, "": NEW}, "is a word"),
        ({"a b": NEW}, "is a word"),
        ({1: NEW}, "is a word"),
        ({"é" * 200: NEW}, "255 bytes at most"),
    ],
)
def test_what_are_no_keys_is_refused(given: Any, told: str) -> None:
    """The error says what is wrong; it has no part of a key."""
    with pytest.raises(ConfigError, match=told) as refused:
        LocalKeys(given)
    assert "xxx" not in str(refused.value)


def test_the_current_key_is_one_of_them() -> None:
    """By default the first; another that is not there is refused."""
    assert LocalKeys({"b": OLD, "a": NEW}).current == "b"
    with pytest.raises(ConfigError, match="'c' is none of the keys: 'b', 'a'"):
        LocalKeys({"b": OLD, "a": NEW}, current="c")


def test_keys_come_from_text(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """From a variable or a file; the first is the current one."""
    data = wrapped(LocalKeys({"old": OLD}), "old")
    monkeypatch.setenv("TEST_KEYS", text_of(new=NEW, old=OLD))
    path = tmp_path / "keys"
    path.write_text(text_of(new=NEW) + "\n" + text_of(old=OLD) + "\n")
    path.chmod(0o600)
    for keys in (LocalKeys.from_env("TEST_KEYS"), LocalKeys.from_file(path)):
        assert keys.current == "new"
        assert unwrapped(keys, "old", data) == b"secret"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "There are no keys"),
        ("  \n", "There are no keys"),
        ("k3yk3yk3y", "Entry 1 of the keys is not ID:KEY"),
        ("a:k3y!", "The key in entry 1 of the keys is not base64"),
        (text_of(a=OLD) + " " + text_of(a=NEW), "Entry 2"),
        ("a:" + base64.b64encode(b"k3y").decode(), "32 random bytes"),
    ],
)
def test_text_that_is_none_is_refused_unseen(text: str, told: str) -> None:
    """What cannot be read is not shown: it may be a key with a slip in it."""
    with pytest.raises(ConfigError, match=told) as refused:
        LocalKeys.from_text(text)
    error: BaseException | None = refused.value
    while error is not None:
        assert "k3y" not in str(error)
        error = error.__cause__ or error.__context__


def test_a_variable_that_is_not_set_is_named() -> None:
    """Who has forgotten it is told which one."""
    with pytest.raises(ConfigError, match="NO_SUCH_KEYS is not set"):
        LocalKeys.from_env("NO_SUCH_KEYS")


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o620])
def test_a_file_that_others_can_read_is_refused(mode: int, tmp_path: Path) -> None:
    """Its keys are no secret any more, and somebody has to know."""
    path = tmp_path / "keys"
    path.write_text(text_of(a=OLD))
    path.chmod(mode)
    with pytest.raises(ConfigError, match="chmod 600"):
        LocalKeys.from_file(path)


def test_keys_are_not_shown() -> None:
    """Neither by `repr` nor by what can be read off the object."""
    keys = LocalKeys({"a": OLD, "b": NEW})
    assert repr(keys) == "<LocalKeys 'a', 'b'; current is 'a'>"
    shown = repr(vars(keys)) + str(keys)
    for key in (OLD, NEW):
        assert repr(key)[2:-1] not in shown
        assert key.hex() not in shown
