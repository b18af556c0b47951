"""How long the items of a store live."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, TypedDict

from durable_graph.decisions.items import Entry
from durable_graph.errors import StoreError

__all__ = ["TTLConfig", "check_ttl", "check_ttl_config", "prolonged"]

_NAMES: Final = ("refresh_on_read", "omit_expired", "default_ttl", "sweep_interval_minutes")

# Of its life, what must have passed for a read to prolong it. So an item that is read all the time
# is not written all the time, and lives a hundredth less than it could.
_WORTH: Final = 0.01

# 1,900 years: the calendar in which an item's end is shown has no date for much more.
_LONGEST: Final = 1_000_000_000


class TTLConfig(TypedDict, total=False):
    """How long a store's items live, where a call does not say.

    Attributes:
        refresh_on_read: whether reading an item lets its time begin anew; `True` by default.
        default_ttl: minutes that an item lives whose `put` says nothing; ``None``, the default,
            for ever.
        omit_expired: accepted, and always so: what has expired is never shown.
        sweep_interval_minutes: accepted, and not needed: puts remove what has expired, a bit each
            time; `asweep_ttl` removes all of it.
    """

    refresh_on_read: bool
    omit_expired: bool
    default_ttl: float | None
    sweep_interval_minutes: int | None


def check_ttl(ttl: Any) -> float | None:
    """A time to live in seconds, of one in minutes.

    Raises:
        StoreError: it is no number of minutes.
    """
    if ttl is None:
        return None
    if isinstance(ttl, bool) or not isinstance(ttl, (int, float)):
        raise StoreError(f"ttl is a number of minutes, or None for ever, not {ttl!r:.200}.")
    if not 0 < ttl <= _LONGEST:
        raise StoreError(
            f"ttl is more than 0 minutes and at most {_LONGEST}, or None for ever, not {ttl!r}."
        )
    return float(ttl) * 60.0


def check_ttl_config(config: Any) -> TTLConfig | None:
    """What a store was told about lifetimes, once it is seen to make sense.

    Raises:
        StoreError: it does not.
    """
    if config is None:
        return None
    if not isinstance(config, Mapping):
        raise StoreError(f"ttl is a dict such as {{'default_ttl': 60}}, not {config!r:.200}.")
    for name in config:
        if name not in _NAMES:
            raise StoreError(f"ttl has {name!r}; there are {', '.join(_NAMES)}.")
    check_ttl(config.get("default_ttl"))
    checked: TTLConfig = {**config}  # type: ignore[typeddict-item]
    return checked


def prolonged(entry: Entry, now: float) -> float | None:
    """Until when an item lives that is read now; ``None`` if that need not be written."""
    if entry.ttl is None or entry.expires is None:
        return None
    until = now + entry.ttl
    return until if until - entry.expires >= entry.ttl * _WORTH else None
