"""An archive in a bucket."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from durable_graph.errors import StorageError
from durable_graph.ports.archive import check_name
from durable_graph.ports.shielded import to_its_end
from durable_graph_aws import AwsOptions, options_of
from durable_graph_s3.bucket import Bucket

if TYPE_CHECKING:
    from aiobotocore.session import AioSession

__all__ = ["S3Archive"]

_FORM = "s3://bucket/prefix?region=eu-central-1"


class S3Archive:
    """Archived threads as objects in a bucket of S3, or of what speaks like it.

    Objects are written once and deleted, never changed, so any storage class will do that gives
    them back at once.

    Args:
        url: ``s3://bucket/prefix``; ``?region=...&endpoint=...`` may follow. A prefix of its own,
            where the bucket is used for anything else.
        create: make the bucket if it is not there.
        client: a client of your own, which is not closed.
        session: where clients come from, instead.
        options: how S3 is reached: region, endpoint_url, access_key_id, ...

    Raises:
        ConfigError: there can be no such bucket, prefix or option.
    """

    def __init__(
        self,
        url: str,
        *,
        create: bool = False,
        client: Any = None,
        session: AioSession | None = None,
        **options: Any,
    ) -> None:
        place, named = options_of(url, form=_FORM)
        name, _, prefix = place.partition("/")
        self._bucket = Bucket(
            name,
            prefix,
            AwsOptions.of({**named, **options}),
            create=create,
            client=client,
            session=session,
        )

    def __repr__(self) -> str:
        return f"<S3Archive {self.url}>"

    @property
    def url(self) -> str:
        return self._bucket.url

    async def put(self, name: str, data: bytes) -> None:
        stored = await to_its_end(self._bucket.put_if(check_name(name), data, None))
        if stored is None:
            raise StorageError(f"{self.url}/{name} exists already; nothing was written.")

    async def get(self, name: str) -> bytes | None:
        stored = await self._bucket.get(check_name(name))
        return stored.data if stored is not None else None

    async def delete(self, name: str) -> None:
        await to_its_end(self._bucket.delete([check_name(name)]))

    async def names(self, folder: str) -> Sequence[str]:
        return [item.key for item in await self._bucket.list(f"{check_name(folder)}/")]

    async def aclose(self) -> None:
        await self._bucket.aclose()
