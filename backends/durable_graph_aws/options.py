"""How a service of AWS, or one that speaks like it, is reached."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Final, Self
from urllib.parse import parse_qsl, unquote, urlsplit

from durable_graph.errors import ConfigError

__all__ = ["AwsOptions", "options_of"]

_URL_NAMES: Final = {"endpoint": "endpoint_url"}
_NUMBERS: Final = ("connect_timeout", "read_timeout", "busy_timeout")
_KEYS: Final = ("access_key_id", "secret_access_key", "session_token")


@dataclass(frozen=True, slots=True)
class AwsOptions:
    """Where a service is, who asks it, and for how long.

    What is not said here is found as AWS's own tools find it: in the environment, in
    ``~/.aws``, or by the role of the machine.

    Attributes:
        region: such as ``"eu-central-1"``.
        endpoint_url: the service's address, if it is not AWS's own.
        access_key_id: who asks.
        secret_access_key: the key that belongs to it.
        session_token: for credentials that expire.
        connect_timeout: seconds until a connection must stand.
        read_timeout: seconds for which nothing may come; then it is not known what became of a
            write. A request as a whole may take six times as long.
        busy_timeout: seconds for which a request that the service refuses because it is busy is
            asked for again.
        connections: how many requests of one event loop are under way at once, at most.
    """

    region: str | None = None
    endpoint_url: str | None = None
    access_key_id: str | None = None
    secret_access_key: str | None = None
    session_token: str | None = None
    connect_timeout: float = 5.0
    read_timeout: float = 10.0
    busy_timeout: float = 10.0
    connections: int = 50

    def __post_init__(self) -> None:
        for name in _NUMBERS:
            value = getattr(self, name)
            if not isinstance(value, (int, float)) or not 0 < value < float("inf"):
                raise ConfigError(f"{name} is a number of seconds above 0, not {value!r}.")
        if type(self.connections) is not int or self.connections < 1:
            raise ConfigError(f"connections is a number from 1 on, not {self.connections!r}.")
        if (self.access_key_id is None) != (self.secret_access_key is None):
            raise ConfigError("access_key_id and secret_access_key are given together or not.")
        url = self.endpoint_url
        if url is not None and not _is_endpoint(url):
            raise ConfigError(f"endpoint_url is http://... or https://..., not {url!r}.")

    def __repr__(self) -> str:
        told = {
            field.name: getattr(self, field.name)
            for field in fields(self)
            if field.name not in _KEYS and getattr(self, field.name) != field.default
        }
        return f"AwsOptions({', '.join(f'{name}={value!r}' for name, value in told.items())})"

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> Self:
        """Options by name.

        Raises:
            ConfigError: there is no such option, or it cannot have such a value.
        """
        known = {field.name for field in fields(cls)}
        for name in options:
            if name not in known:
                raise ConfigError(f"There is no option {name!r}. There are {_listed(known)}.")
        return cls(**options)


def _is_endpoint(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # there is no such port, or no such address
        return False


def options_of(url: str, *, form: str, extra: tuple[str, ...] = ()) -> tuple[str, dict[str, Any]]:
    """What a URL ``scheme://name/path?option=value`` names, and its options.

    A URL holds no credentials: URLs are written into logs.

    Args:
        url: the URL.
        form: what such a URL looks like, for messages.
        extra: options of the backend's own, whose values stay text.

    Returns:
        ``name/path`` without slashes around it, and the options by name.

    Raises:
        ConfigError: it names nothing, or has an option that there is not.
    """
    if not isinstance(url, str):
        raise ConfigError(
            f"A URL looks like {form}; this is a {type(url).__name__}. A client of your own is "
            f"taken as client=."
        )
    parts = urlsplit(url)
    name = unquote(parts.netloc + parts.path).strip("/")
    if not name or "@" in parts.netloc + parts.path:
        raise ConfigError(f"A URL looks like {form}; credentials come from the environment.")
    allowed = {"region", "endpoint", "connections", *_NUMBERS, *extra}
    options: dict[str, Any] = {}
    for key, value in parse_qsl(parts.query, keep_blank_values=True):
        if key not in allowed:
            raise ConfigError(f"A URL has no option {key!r}. There are {_listed(allowed)}.")
        try:
            options[_URL_NAMES.get(key, key)] = (
                float(value) if key in _NUMBERS else int(value) if key == "connections" else value
            )
        except ValueError as error:
            raise ConfigError(f"{key}={value!r} is no number.") from error
    return name, options


def _listed(names: set[str]) -> str:
    return ", ".join(sorted(names))
