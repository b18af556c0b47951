"""How long items of a store live."""

from __future__ import annotations

import math
from typing import Any

import pytest

from durable_graph.decisions.items import Entry
from durable_graph.decisions.lifetimes import check_ttl, check_ttl_config, prolonged
from durable_graph.errors import StoreError


def test_minutes_are_kept_as_seconds() -> None:
    """``None`` is for ever."""
    assert check_ttl(1.5) == 90.0
    assert check_ttl(None) is None
    assert check_ttl(1e9) == 6e10


@pytest.mark.parametrize("ttl", [0, -1, 1e10, math.inf, math.nan, "1", True, [1]])
def test_what_is_no_time_to_live_is_refused(ttl: Any) -> None:
    """By itself and as a store's default."""
    with pytest.raises(StoreError, match="minutes"):
        check_ttl(ttl)
    with pytest.raises(StoreError, match="minutes"):
        check_ttl_config({"default_ttl": ttl})


def test_a_config_has_names_that_are_known() -> None:
    """LangGraph's are."""
    config = {
        "refresh_on_read": False,
        "omit_expired": True,
        "default_ttl": 5,
        "sweep_interval_minutes": 1,
    }
    assert check_ttl_config(config) == config
    assert check_ttl_config(None) is None
    with pytest.raises(StoreError, match="'refresh'; there are refresh_on_read"):
        check_ttl_config({"refresh": True})
    with pytest.raises(StoreError, match="a dict"):
        check_ttl_config(5)


def test_reading_prolongs_from_now_on() -> None:
    """Not if next to nothing of its life has passed: that would be a write for each read."""
    entry = Entry(("a",), "k", b"{}", 1, 0.0, 0.0, ttl=100.0, expires=100.0)
    assert prolonged(entry, 50.0) == 150.0
    assert prolonged(entry, 1.0) == 101.0
    assert prolonged(entry, 0.9) is None
    assert prolonged(Entry(("a",), "k", b"{}", 1, 0.0, 0.0), 50.0) is None
