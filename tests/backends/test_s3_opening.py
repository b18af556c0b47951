"""Opening a bucket: what it must be, what it must do, and what it may be called."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from durable_graph import open_saver
from durable_graph.errors import ConfigError, IntegrityError, StorageError, UnknownTypeError
from durable_graph.log.container import pack
from durable_graph.ports.backend import ThreadQuery
from durable_graph.testing.contract_kit import Log, commit, expect_log, write
from durable_graph_s3 import S3Archive, S3Backend, S3Saver
from tests.backends.s3_kit import opened
from tests.services import aws

services = pytest.mark.services


class Careless:
    """A client of a service that takes no notice of some conditions."""

    def __init__(self, client: Any, *ignored: str) -> None:
        self._client = client
        self._ignored = ignored

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    async def put_object(self, **options: Any) -> Any:
        for name in self._ignored:
            options.pop(name, None)
        return await self._client.put_object(**options)


def client() -> Any:
    """A client of the user's own."""
    how = aws.options()
    return aws.session().create_client(
        "s3",
        endpoint_url=how["endpoint_url"],
        region_name=how["region"],
        aws_access_key_id=how["access_key_id"],
        aws_secret_access_key=how["secret_access_key"],
    )


@services
@pytest.mark.parametrize("ignored", [["IfNoneMatch"], ["IfMatch"], ["IfNoneMatch", "IfMatch"]])
async def test_storage_that_ignores_conditions_is_refused(ignored: list[str]) -> None:
    """It is tried before anything is written, and used only on request."""
    bucket = await aws.fresh_bucket()
    async with client() as own:
        careless = Careless(own, *ignored)
        async with opened(bucket, client=careless) as backend:
            with pytest.raises(StorageError, match="allow_weaker"):
                await backend.read(Log().key)
        async with opened(bucket, client=careless, allow_weaker=True) as backend:
            log = Log()
            await write(backend, log, commit("c1"))
            await expect_log(backend, log)
        async with opened(bucket, client=own) as backend:  # it was not closed
            await expect_log(backend, log)


@services
async def test_a_bucket_that_is_not_there_is_not_guessed_at() -> None:
    """It is told, or made on request; by many at the same time, too."""
    name = aws.fresh_name()
    async with opened(name) as backend:
        with pytest.raises(StorageError, match="create=True"):
            await backend.read(Log().key)
    backends = [opened(name, "threads", create=True) for _ in range(8)]
    logs = [Log(f"thread {number}") for number in range(8)]
    made = [await context.__aenter__() for context in backends]
    await asyncio.gather(
        *(write(backend, log, commit("c1")) for backend, log in zip(made, logs, strict=True))
    )
    for log in logs:
        await expect_log(made[0], log)
    for context in backends:
        await context.__aexit__(None, None, None)


@services
async def test_what_another_version_has_written_is_refused() -> None:
    """A newer format says that one has to upgrade; something else in its place is damage."""
    bucket = await aws.fresh_bucket()
    async with opened(bucket) as backend:
        await backend.bucket.put("format", pack("bucket", 2, {}, []))
    async with opened(bucket) as backend:
        with pytest.raises(UnknownTypeError, match="upgrade"):
            await backend.read(Log().key)
    async with opened(bucket, "other") as backend:
        await backend.bucket.put("format", b"a file of somebody else's")
    async with opened(bucket, "other") as backend:
        with pytest.raises(IntegrityError):
            await backend.read(Log().key)


@services
async def test_prefixes_are_apart() -> None:
    """Threads of the same name under two prefixes of a bucket, one within the other, know nothing
    of each other."""
    bucket = await aws.fresh_bucket()
    async with opened(bucket) as top, opened(bucket, "a") as a, opened(bucket, "a/b") as b:
        logs = [Log(), Log(), Log()]
        for backend, log in zip((top, a, b), logs, strict=True):
            await write(backend, log, *(commit(f"c{n}") for n in range(1 + logs.index(log))))
        for backend, log in zip((top, a, b), logs, strict=True):
            await expect_log(backend, log)
            page = await backend.threads(ThreadQuery())
            assert [thread.head for thread in page.threads] == [log.head]


@pytest.mark.parametrize(
    ("bucket", "prefix"),
    [
        ("", ""),
        ("ab", ""),
        ("Bucket", ""),
        ("-bucket", ""),
        ("bucket/x", ""),
        ("bucket", "/a"),
        ("bucket", "a/"),
        ("bucket", "a//b"),
        ("bucket", "../a"),
        ("bucket", "a b"),
        ("bucket", "ä"),
        ("bucket", "x" * 301),
    ],
)
def test_odd_names_are_refused(bucket: str, prefix: str) -> None:
    """A bucket or a prefix that cannot be named like that is told when the backend is made."""
    with pytest.raises(ConfigError):
        S3Backend(bucket, prefix)


def test_a_url_says_everything_but_who_asks() -> None:
    """Bucket, prefix and options come from the URL, `open_saver` finds it, and what makes no sense
    is refused."""
    saver = open_saver(
        "s3://bucket/a/b?region=eu-central-1&endpoint=http://localhost:1&create=true"
    )
    assert isinstance(saver, S3Saver)
    assert repr(saver.backend) == "<S3Backend s3://bucket/a/b>"
    assert isinstance(S3Saver.from_conn_string("s3://bucket"), S3Saver)
    assert repr(S3Archive("s3://bucket/cold")) == "<S3Archive s3://bucket/cold>"
    for url in (
        "s3://",
        "s3://bucket?colour=red",
        "s3://bucket?create=perhaps",
        "s3://key:secret@bucket",
        "s3://bucket?access_key_id=x",
    ):
        with pytest.raises(ConfigError):
            open_saver(url)
