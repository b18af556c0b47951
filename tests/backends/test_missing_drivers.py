"""Without its driver, a backend says what to install."""

from __future__ import annotations

import subprocess
import sys

import pytest

ABSENT = """
import importlib.abc, sys

class Absent(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == {driver!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name={driver!r})

sys.meta_path.insert(0, Absent())
"""

BY_URL = """
from durable_graph import open_{what}
from durable_graph.errors import ConfigError
try:
    open_{what}({url!r})
except ConfigError as error:
    print(error)
"""

BY_NAME = """
try:
    import durable_graph_{plugin}
except ImportError as error:
    print(error)
"""

SAVERS = [
    ("postgres://localhost/x", "asyncpg", "postgres"),
    ("postgresql://localhost/x", "asyncpg", "postgres"),
    ("redis://localhost", "redis", "redis"),
    ("rediss://localhost", "redis", "redis"),
    ("dynamodb://table", "aiobotocore", "dynamodb"),
    ("s3://bucket/prefix", "aiobotocore", "s3"),
]
STORES = [row for row in SAVERS if row[2] in ("dynamodb", "postgres", "redis")]


@pytest.mark.parametrize(
    ("what", "url", "driver", "extra"),
    [("saver", *row) for row in SAVERS] + [("store", *row) for row in STORES],
)
def test_a_missing_driver_is_named_with_its_extra(
    what: str, url: str, driver: str, extra: str
) -> None:
    """The error says which package is missing and which extra brings it, whatever the scheme."""
    said = _said(driver, BY_URL.format(what=what, url=url))
    assert f"needs the package {driver!r}" in said
    assert f"pip install 'durable-graph[{extra}]'" in said


@pytest.mark.parametrize(("driver", "plugin"), sorted({row[1:] for row in SAVERS}))
def test_who_imports_a_class_is_told_the_same(driver: str, plugin: str) -> None:
    """Not only who opens a URL."""
    said = _said(driver, BY_NAME.format(plugin=plugin))
    assert f"needs the package {driver!r}: pip install 'durable-graph[{plugin}]'" in said


def _said(driver: str, program: str) -> str:
    """What a program prints where a driver is not installed."""
    return subprocess.run(
        [sys.executable, "-c", ABSENT.format(driver=driver) + program],
        capture_output=True,
        text=True,
        timeout=50,
        check=True,
    ).stdout
