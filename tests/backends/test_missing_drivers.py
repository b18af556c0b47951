"""Without its driver, a backend says what to install."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import importlib.abc, sys

class Absent(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == {driver!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name={driver!r})

sys.meta_path.insert(0, Absent())
from durable_graph import open_{what}
from durable_graph.errors import ConfigError
try:
    open_{what}({url!r})
except ConfigError as error:
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
    program = PROGRAM.format(driver=driver, what=what, url=url)
    said = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=50, check=True
    ).stdout
    assert f"needs the package {driver!r}" in said
    assert f"pip install 'durable-graph[{extra}]'" in said
