"""A bucket, as far as it is used here: objects under a prefix, and writes that state what they
expect to find.

S3 answers reads with what was written last, and a write that states the ETag it expects takes
effect as a whole or not at all. Nothing else is asked of it, so what speaks like S3 will do as
well, if it keeps to that: `Bucket.ready` tries it.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Final, TypeVar

from botocore.exceptions import ClientError

from durable_graph.errors import ConfigError, StorageError
from durable_graph.log.container import pack, unpack
from durable_graph.ports.clock import Chance, Clock
from durable_graph_aws import AwsOptions, NothingDoneError, Service, code_of

if TYPE_CHECKING:
    from aiobotocore.session import AioSession

__all__ = ["Bucket", "Listed", "Stored", "check_place", "fresh"]

T = TypeVar("T")

FORMAT: Final = 1
_FORMAT_KEY: Final = "format"
_NO_SUCH: Final = frozenset({"NoSuchKey", "404"})
_NO_BUCKET: Final = frozenset({"NoSuchBucket"})
_OURS_ALREADY: Final = frozenset({"BucketAlreadyOwnedByYou", "BucketAlreadyExists"})
_OTHERS_FIRST: Final = frozenset({"PreconditionFailed", "412"})
_AT_ONCE: Final = frozenset({"ConditionalRequestConflict", "409", "OperationAborted"})
_DELETED_AT_ONCE: Final = 1000
_PREFIX: Final = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./=")
_LONGEST_PREFIX: Final = 300  # of the 1,024 bytes that a key may have


@dataclass(frozen=True, slots=True)
class Stored:
    """An object as it was read.

    Attributes:
        data: what is in it.
        etag: what a write has to state that is to replace it.
    """

    data: bytes
    etag: str


@dataclass(frozen=True, slots=True)
class Listed:
    """An object as a list shows it.

    Attributes:
        key: its key, without the prefix.
        etag: what it would be read with.
        age: seconds since it was written, by the server's clock; whole ones.
    """

    key: str
    etag: str
    age: float


class Bucket:
    """Objects under a prefix of a bucket.

    Args:
        name: the bucket.
        prefix: what all keys begin with, without slashes around it; may be empty.
        options: how S3 is reached.
        create: make the bucket if it is not there.
        allow_weaker: use it even if it does not honour conditional writes.
        client: a client of the user's own, which is not closed.
        session: where clients come from.
        clock: for the time between two tries.
        chance: for the jitter in it.

    Raises:
        ConfigError: there can be no such bucket or prefix.
    """

    def __init__(
        self,
        name: str,
        prefix: str,
        options: AwsOptions,
        *,
        create: bool = False,
        allow_weaker: bool = False,
        client: Any = None,
        session: AioSession | None = None,
        clock: Clock | None = None,
        chance: Chance | None = None,
    ) -> None:
        check_place(name, prefix)
        self.name = name
        self.prefix = prefix
        self.service: Service[Any] = Service(
            "s3", options, client=client, session=session, clock=clock, chance=chance
        )
        self.written = 0
        """Bytes that were sent."""
        self._start = f"{prefix}/" if prefix else ""
        self._create = create
        self._allow_weaker = allow_weaker
        self._region = options.region
        self._ready = False

    @property
    def url(self) -> str:
        """The bucket and the prefix, as one writes them."""
        return f"s3://{self.name}/{self.prefix}".rstrip("/")

    async def get(self, key: str, unless: str | None = None) -> Stored | None:
        """An object; ``None`` if there is none.

        One that is still that with the ETag `unless` comes without what is in it.
        """

        async def work(client: Any, expect: Callable[[int], None]) -> Stored | None:
            condition = {} if unless is None else {"IfNoneMatch": unless}
            try:
                answer = await client.get_object(Bucket=self.name, Key=self._key(key), **condition)
            except ClientError as error:
                if code_of(error) in _NO_SUCH:
                    return None
                if unless is not None and _status(error) == 304:
                    return Stored(b"", unless)
                raise
            async with answer["Body"] as body:
                expect(answer["ContentLength"])
                return Stored(await body.read(), answer["ETag"])

        if not self._ready:
            await self.ready()
        return await self.service.fetch(work, f"Reading {self.url}")

    async def put(self, key: str, data: bytes) -> None:
        """Store an object under a key of its own, or one that always holds the same."""

        async def work(client: Any) -> None:
            self.written += len(data)
            await client.put_object(Bucket=self.name, Key=self._key(key), Body=data)

        await self._again(work, f"Writing to {self.url}", size=len(data))

    async def put_if(self, key: str, data: bytes, etag: str | None) -> str | None:
        """Store an object if there is what is expected; returns its ETag.

        Args:
            key: the key.
            data: what to store. No two objects that are ever stored under one key may be equal,
                or they would have one ETag.
            etag: of the object that must be there; ``None`` if there must be none.

        Returns:
            ``None`` if there was something else; then nothing was stored.

        Raises:
            OutcomeUnknownError: it may have been stored.
        """
        condition = {"IfNoneMatch": "*"} if etag is None else {"IfMatch": etag}

        async def work(client: Any) -> str | None:
            self.written += len(data)
            try:
                answer = await client.put_object(
                    Bucket=self.name, Key=self._key(key), Body=data, **condition
                )
            except ClientError as error:
                # An object that must be there, and is not, is answered with 404.
                if code_of(error) in _OTHERS_FIRST | _NO_SUCH:
                    return None
                if code_of(error) in _AT_ONCE:
                    raise NothingDoneError(str(error)) from error
                raise
            return str(answer["ETag"])

        if not self._ready:
            await self.ready()
        return await self.service.once(work, f"Writing to {self.url}", size=len(data))

    async def list(self, folder: str) -> Sequence[Listed]:
        """All objects whose keys begin with this, in the order of their keys."""
        found: list[Listed] = []
        more: dict[str, str] | None = {}
        while more is not None:
            page, more = await self._page(folder, more)
            found += page
        return found

    async def _page(
        self, folder: str, at: dict[str, str]
    ) -> tuple[Sequence[Listed], dict[str, str] | None]:
        """Some of a list, and where it goes on."""

        async def work(client: Any) -> tuple[Sequence[Listed], dict[str, str] | None]:
            answer = await client.list_objects_v2(Bucket=self.name, Prefix=self._key(folder), **at)
            now = _date(answer)
            page = [
                Listed(
                    item["Key"].removeprefix(self._start),
                    item["ETag"],
                    max(0.0, (now - item["LastModified"]).total_seconds()),
                )
                for item in answer.get("Contents", ())
            ]
            if not answer.get("IsTruncated"):
                return page, None
            return page, {"ContinuationToken": answer["NextContinuationToken"]}

        return await self._again(work, f"Listing {self.url}")

    async def delete(self, keys: Sequence[str]) -> None:
        """Delete objects. Harmless if they are not there."""
        for start in range(0, len(keys), _DELETED_AT_ONCE):
            await self._delete(keys[start : start + _DELETED_AT_ONCE])

    async def _delete(self, keys: Sequence[str]) -> None:
        async def work(client: Any) -> None:
            answer = await client.delete_objects(
                Bucket=self.name,
                Delete={"Objects": [{"Key": self._key(key)} for key in keys], "Quiet": True},
            )
            for failed in answer.get("Errors", ()):
                raise StorageError(
                    f"{self.url}: {failed.get('Key')} cannot be deleted: {failed.get('Code')}. "
                    f"Check that this user may delete objects, and call again."
                )

        await self._again(work, f"Deleting from {self.url}")

    async def aclose(self) -> None:
        """Release the connections."""
        await self.service.aclose()

    def _key(self, key: str) -> str:
        return f"{self._start}{key}"

    async def _again(self, work: Callable[[Any], Awaitable[T]], what: str, *, size: int = 0) -> T:
        if not self._ready:
            await self.ready()
        return await self.service.again(work, what, size=size)

    # -- the first time --------------------------------------------------------------------------

    async def ready(self) -> None:
        """See that the bucket is there, holds what this version understands, and does what S3
        promises. Any number of processes may do so at the same time.

        Raises:
            StorageError: it is not there, or writes to it do not look at what they should expect.
            UnknownTypeError: a newer version has written to it.
        """
        marker = await self.service.again(self._marker, f"Opening {self.url}")
        data = pack("bucket", FORMAT, {}, []) if marker is None else marker
        unpack("bucket", FORMAT, data)
        # Whoever takes no notice of conditions stores these: they are what is there already.
        tries = [{"IfNoneMatch": "*"}, {"IfNoneMatch": "*"}, {"IfMatch": f'"{"0" * 32}"'}]
        refused = [await self._is_refused(data, condition) for condition in tries]
        if not all(refused[1:]) and not self._allow_weaker:
            raise StorageError(
                f"{self.url}: this storage takes no notice of If-None-Match or If-Match, so two "
                f"processes could overwrite what the other has written. Use one that honours "
                f"conditional writes, or accept one process only with allow_weaker=True."
            )
        self._ready = True

    async def _marker(self, client: Any) -> bytes | None:
        try:
            answer = await client.get_object(Bucket=self.name, Key=self._key(_FORMAT_KEY))
        except ClientError as error:
            if code_of(error) in _NO_SUCH:
                return None
            if code_of(error) not in _NO_BUCKET:
                raise
            if not self._create:
                raise StorageError(
                    f"There is no bucket {self.name!r}. Create it, or pass create=True."
                ) from error
            await self._make(client)
            return None
        async with answer["Body"] as body:
            return bytes(await body.read())

    async def _make(self, client: Any) -> None:
        region = self._region or client.meta.region_name
        where: dict[str, Any] = {}
        if region not in (None, "us-east-1", "aws-global"):
            where = {"CreateBucketConfiguration": {"LocationConstraint": region}}
        try:
            await client.create_bucket(Bucket=self.name, **where)
        except ClientError as error:
            if code_of(error) not in _OURS_ALREADY:
                raise

    async def _is_refused(self, data: bytes, condition: dict[str, str]) -> bool:
        async def work(client: Any) -> bool:
            try:
                await client.put_object(
                    Bucket=self.name, Key=self._key(_FORMAT_KEY), Body=data, **condition
                )
            except ClientError as error:
                if code_of(error) in _AT_ONCE:
                    raise NothingDoneError(str(error)) from error
                if code_of(error) not in _OTHERS_FIRST:
                    raise
                return True
            return False

        return await self.service.again(work, f"Trying {self.url}")


def check_place(bucket: str, prefix: str) -> None:
    """See that a bucket and a prefix can be named like that.

    Raises:
        ConfigError: they cannot.
    """
    letters = frozenset("abcdefghijklmnopqrstuvwxyz0123456789.-")
    if not 3 <= len(bucket) <= 63 or not set(bucket) <= letters or not bucket[0].isalnum():
        raise ConfigError(
            f"A bucket has 3 to 63 small letters, digits, dots and hyphens, not {bucket!r}."
        )
    words = prefix.split("/")
    sound = set(prefix) <= _PREFIX and len(prefix) <= _LONGEST_PREFIX
    if not sound or (prefix and any(word in ("", ".", "..") for word in words)):
        raise ConfigError(
            f"A prefix is words of letters, digits and -_.= with slashes between them, of "
            f"{_LONGEST_PREFIX} characters at most, not {prefix!r}."
        )


def fresh() -> str:
    """A word that nobody else uses: for keys, and for what no two objects may share."""
    return secrets.token_hex(8)


def _status(error: ClientError) -> int:
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def _date(answer: Any) -> datetime:
    """The server's time: what it says when objects were written goes by the same clock."""
    return parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"]["date"])
