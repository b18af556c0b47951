"""DynamoDB and S3 for tests: moto's server, one for all tests of a process."""

from __future__ import annotations

import atexit
import importlib.util
import itertools
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, Final

import pytest

__all__ = ["CREDENTIALS", "REGION", "endpoint", "fresh_bucket", "fresh_name", "options", "session"]

REGION: Final = "eu-central-1"
CREDENTIALS: Final = {"access_key_id": "testing", "secret_access_key": "testing"}

_names: Iterator[int] = itertools.count(1)


def endpoint() -> str:
    """The address of the server, which is started by whoever asks first."""
    for package, extra in (("moto", "services"), ("aiobotocore", "dynamodb")):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed: pip install 'durable-graph[{extra}]'")
    return _started()


def options() -> dict[str, Any]:
    """How the server is reached, as options of savers and stores."""
    return {"endpoint_url": endpoint(), "region": REGION, **CREDENTIALS}


def fresh_name() -> str:
    """A name that no other table or bucket has."""
    return f"test-{os.getpid()}-{next(_names)}"


@cache
def session() -> Any:
    """Where clients come from: what AWS's services are is read once."""
    from aiobotocore.session import get_session

    return get_session()


async def fresh_bucket() -> str:
    """An empty bucket of the test's own."""
    name = fresh_name()
    async with session().create_client(
        "s3",
        endpoint_url=endpoint(),
        region_name=REGION,
        aws_access_key_id=CREDENTIALS["access_key_id"],
        aws_secret_access_key=CREDENTIALS["secret_access_key"],
    ) as client:
        await client.create_bucket(
            Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION}
        )
    return name


@cache
def _started() -> str:
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("moto_process.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
        assert process.stdout is not None
        port = process.stdout.readline().strip()
        if not port:
            process.wait(timeout=30)
            log.seek(0)
            said = log.read().decode(errors="replace")
            raise RuntimeError(f"moto's server did not start: {said}")
    atexit.register(_stop, process)
    return f"http://127.0.0.1:{port}"


def _stop(process: subprocess.Popen[str]) -> None:
    process.kill()  # it holds nothing that anybody wants
    process.communicate()
