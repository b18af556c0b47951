"""Where keys come from: a key management service, or this process's own settings.

A provider never hands out its keys. It wraps the secret of a thread, which is stored in that form,
and unwraps it for whoever is to read the thread. So a key is rotated by wrapping secrets anew, and
what they encrypt stays as it is; and a thread is unreadable once its wrapped secret is gone.
"""

from __future__ import annotations

import base64
import binascii
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Protocol, Self

from durable_graph.encryption.envelope import KEY_SIZE, NotSealedError, Opener, binding
from durable_graph.errors import ConfigError, DecryptionError

__all__ = ["KeyProvider", "LocalKeys"]

_LONGEST_ID: Final = 255


class KeyProvider(Protocol):
    """Wraps secrets under keys that have ids, as key management services do.

    Both methods are given a context, which the result is bound to: unwrapping in another one has
    to fail. They are called from any event loop, and several at once. Whatever they raise besides
    `DecryptionError` counts as a service that cannot be reached: what was asked for fails with
    `StorageError`, and nothing is written.
    """

    @property
    def current(self) -> str:
        """Id of the key that secrets are to be wrapped with from now on: 1 to 255 bytes."""
        ...

    async def wrap(self, key_id: str, secret: bytes, context: Mapping[str, str]) -> bytes:
        """A secret of some 16 to 64 bytes in a form that only the provider can read."""
        ...

    async def unwrap(self, key_id: str, wrapped: bytes, context: Mapping[str, str]) -> bytes:
        """The secret again.

        Raises:
            DecryptionError: there is no such key, or it was not wrapped like this.
        """
        ...


class LocalKeys:
    """Keys that this process holds itself.

    To rotate: give every process the new key along with the old one, make it the current one, have
    `arotate_keys` wrap what there is with it, and only then take the old one away.

    Args:
        keys: keys by id, each of 32 random bytes: ``secrets.token_bytes(32)``.
        current: id of the key to wrap with; the others only unwrap. By default the first.

    Raises:
        ConfigError: there are no such keys.
    """

    def __init__(self, keys: Mapping[str, bytes], current: str | None = None) -> None:
        if not isinstance(keys, Mapping) or not keys:
            raise ConfigError('LocalKeys takes keys by id: LocalKeys({"2026": key}), at least one.')
        for name, key in keys.items():
            _check(name, key)
        self.current: str = next(iter(keys)) if current is None else current
        if self.current not in keys:
            raise ConfigError(
                f"current={self.current!r} is none of the keys: {', '.join(map(repr, keys))}."
            )
        self._keys = {name: Opener(key) for name, key in keys.items()}

    @classmethod
    def from_text(cls, text: str) -> Self:
        """Keys from text: ``id:key``, the key in base64, one or more, apart by spaces or lines.

        The first is the current one.

        Raises:
            ConfigError: it is something else.
        """
        keys: dict[str, bytes] = {}
        for place, entry in enumerate(text.split(), 1):
            name, separator, key = entry.rpartition(":")
            # None of it is shown: it may be the key.
            if not separator or name in keys:
                raise ConfigError(
                    f"Entry {place} of the keys is not ID:KEY, or has the id of another one."
                )
            try:
                keys[name] = base64.b64decode(key, validate=True)
            except (binascii.Error, ValueError):
                raise ConfigError(f"The key in entry {place} of the keys is not base64.") from None
        if not keys:
            raise ConfigError("There are no keys. Write them as ID:KEY, the key in base64.")
        return cls(keys)

    @classmethod
    def from_env(cls, name: str) -> Self:
        """Keys from a variable of the environment; see `from_text`.

        Raises:
            ConfigError: it is not set, or holds something else.
        """
        text = os.environ.get(name)
        if text is None:
            raise ConfigError(f"The variable {name} is not set: it is to hold keys as ID:KEY.")
        return cls.from_text(text)

    @classmethod
    def from_file(cls, path: str | os.PathLike[str]) -> Self:
        """Keys from a file that only its owner can read; see `from_text`.

        Raises:
            ConfigError: others can read it, or it holds something else.
            OSError: it cannot be read.
        """
        with Path(path).open(encoding="utf-8") as file:
            mode = os.fstat(file.fileno()).st_mode
            if os.name == "posix" and mode & (stat.S_IRWXG | stat.S_IRWXO):
                raise ConfigError(
                    f"Others can read the keys in {os.fspath(path)}: chmod 600 it, and consider "
                    f"whether they have to be replaced."
                )
            return cls.from_text(file.read())

    def __repr__(self) -> str:
        return f"<LocalKeys {', '.join(map(repr, self._keys))}; current is {self.current!r}>"

    async def wrap(self, key_id: str, secret: bytes, context: Mapping[str, str]) -> bytes:
        """See `KeyProvider.wrap`."""
        return self._keys[key_id].seal(secret, _bound(key_id, context))

    async def unwrap(self, key_id: str, wrapped: bytes, context: Mapping[str, str]) -> bytes:
        """See `KeyProvider.unwrap`."""
        key = self._keys.get(key_id)
        try:
            if key is None:
                raise NotSealedError
            return key.open(wrapped, _bound(key_id, context))
        except NotSealedError:
            raise DecryptionError("A key cannot be unwrapped with the keys at hand.") from None


def _bound(key_id: str, context: Mapping[str, str]) -> bytes:
    return binding(key_id, *(part for pair in sorted(context.items()) for part in pair))


def _check(name: object, key: object) -> None:
    if not isinstance(name, str) or not name.isprintable() or name.split() != [name]:
        raise ConfigError(f"The id of a key is a word, not {name!r:.300}.")
    if len(name.encode()) > _LONGEST_ID:
        raise ConfigError(f"The id of a key has {_LONGEST_ID} bytes at most; {name!r:.300}.")
    # Never shown: it is a key all the same, if a weak one.
    if not isinstance(key, bytes) or len(key) != KEY_SIZE:
        what = f"{len(key)} bytes" if isinstance(key, bytes) else f"a {type(key).__name__}"
        raise ConfigError(
            f"The key {name!r} is to have {KEY_SIZE} random bytes, such as "
            f"secrets.token_bytes({KEY_SIZE}); it is {what}."
        )
