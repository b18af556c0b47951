"""What the tests of S3 share."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from durable_graph_aws import AwsOptions
from durable_graph_s3 import S3Backend
from tests.services import aws

__all__ = ["opened"]


@asynccontextmanager
async def opened(
    bucket: str, prefix: str = "", endpoint: str | None = None, **options: Any
) -> AsyncIterator[S3Backend]:
    """A backend, closed at the end.

    Args:
        bucket: the bucket.
        prefix: what its keys begin with.
        endpoint: where it is, if not at the server itself.
        options: for the backend.
    """
    how = AwsOptions(**aws.options())
    if endpoint is not None:
        how = replace(how, endpoint_url=endpoint)
    if "client" not in options:
        options["session"] = aws.session()
    backend = S3Backend(bucket, prefix, how, **options)
    try:
        yield backend
    finally:
        await backend.aclose()
