"""What is asked of a server before it is used: what it promises, and what is stored there.

It is asked on every new connection, not only at the beginning: after a failover there may be
another server at the same address.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, Literal, TypeAlias

from redis import exceptions as redis

from durable_graph.errors import StorageError, UnknownTypeError

__all__ = ["Ask", "Durability", "Greeting", "IsClusterError"]

Ask: TypeAlias = Callable[..., Awaitable[Any]]
"""Gives one server one command and returns its answer; raises what that is if it is an error."""

Durability: TypeAlias = Literal["always", "everysec"]

_FORMAT: Final = 1
_LEVELS: Final = {"no": 0, "everysec": 1, "always": 2}


class IsClusterError(Exception):
    """The server is one of a cluster, and has to be reached as such."""


class Greeting:
    """Asks a server whether it can be used.

    Args:
        where: the server, as errors name it.
        durability: what it has to promise.
        allow_weaker: use it whatever it promises.
        format_key: the key that says what is stored there.
    """

    def __init__(
        self, where: str, durability: Durability, allow_weaker: bool, format_key: str
    ) -> None:
        self._where = where
        self._durability = durability
        self._allow_weaker = allow_weaker
        self._format_key = format_key

    async def server(self, ask: Ask, *, cluster: bool = False) -> None:
        """See that one server is a primary, and keeps what it acknowledges.

        Raises:
            IsClusterError: it is one of a cluster, and that was not expected.
            StorageError: it is a replica, or promises less than it should.
        """
        info = await self._info(ask)
        if info.get("loading") == "1":
            raise redis.BusyLoadingError("it is loading its data")  # so it is tried again
        if info.get("cluster_enabled") == "1" and not cluster:
            raise IsClusterError
        if info.get("role", "master") != "master":
            raise StorageError(
                f"{self._where} is a replica, which cannot be written to. Connect to its primary."
            )
        if not self._allow_weaker:
            self._expect_no_eviction(info)
            await self._expect_durability(ask, info)

    async def format(self, ask: Ask) -> None:
        """See that what is stored under the prefix is ours to read; say so if nothing is.

        Raises:
            UnknownTypeError: it was written by a newer version.
            StorageError: it is something else.
        """
        await ask("SET", self._format_key, _FORMAT, "NX")
        stored = _text(await ask("GET", self._format_key))
        if stored == str(_FORMAT):
            return
        if not stored.isdecimal():
            raise StorageError(
                f"{self._where}: the key {self._format_key} belongs to something else. Use another "
                f"prefix."
            )
        raise UnknownTypeError(
            f"{self._where}: {self._format_key} is {stored}; this version reads {_FORMAT}. It was "
            f"written by a newer one: upgrade."
        )

    async def _info(self, ask: Ask) -> Mapping[str, str]:
        try:
            told = await ask("INFO")
        except redis.ResponseError as error:
            if self._allow_weaker:
                return {}
            raise StorageError(
                f"{self._where} does not tell what it promises ({error}). Allow this user INFO, or "
                f"see in the service's documentation that what it acknowledges is kept, and accept "
                f"that with allow_weaker=True."
            ) from error
        if isinstance(told, Mapping):  # a cluster's client has read it already
            return {_text(name): _text(value) for name, value in told.items()}
        lines = (line.partition(":") for line in _text(told).splitlines())
        return {name: value for name, _, value in lines}

    def _expect_no_eviction(self, info: Mapping[str, str]) -> None:
        policy = info.get("maxmemory_policy", "unknown")
        if policy != "noeviction":
            raise StorageError(
                f"{self._where} throws away keys when its memory is full: maxmemory-policy is "
                f"{policy}. Set it to noeviction, or accept to lose threads with "
                f"allow_weaker=True."
            )

    async def _expect_durability(self, ask: Ask, info: Mapping[str, str]) -> None:
        if info.get("aof_enabled") != "1":
            raise StorageError(
                f"{self._where} keeps no log of what it is given: appendonly is no. Set appendonly "
                f"yes and appendfsync {self._durability}, or accept less with allow_weaker=True."
            )
        try:
            told = await ask("CONFIG", "GET", "appendfsync")
        except redis.ResponseError as error:
            raise StorageError(
                f"{self._where} does not tell its appendfsync ({error}), as managed services do "
                f"not. See in the service's documentation that it is {self._durability} or "
                f"stronger, and then say so with allow_weaker=True."
            ) from error
        pairs = list(told.values()) if isinstance(told, Mapping) else list(told)[1::2]
        level = _text(pairs[0]) if pairs else "unknown"
        if _LEVELS.get(level, -1) < _LEVELS[self._durability]:
            raise StorageError(
                f"{self._where} gives less than durability={self._durability!r}: appendfsync is "
                f"{level}. Set it to {self._durability}, or accept less with "
                f"durability='everysec' or allow_weaker=True."
            )


def _text(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
