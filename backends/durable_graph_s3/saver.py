"""The saver on S3."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from durable_graph.encryption import Encryption
from durable_graph.errors import ConfigError
from durable_graph.ports.archive import Archive
from durable_graph.ports.clock import Chance, Clock
from durable_graph.saver import Lease, Saver
from durable_graph_aws import AwsOptions, options_of
from durable_graph_s3.backend import S3Backend

if TYPE_CHECKING:
    from aiobotocore.session import AioSession

__all__ = ["S3Saver", "open_saver"]

_FORM = "s3://bucket/prefix?region=eu-central-1"
_YES = {"true": True, "1": True, "false": False, "0": False}


class S3Saver(Saver):
    """Stores threads in a bucket of S3, or of what speaks like it; any number of processes may
    use it at once.

    It is opened on first use, and then asked whether it honours conditional writes. A superstep
    is one request. Listing threads looks at every thread of the tenant. Large values are stored
    before the write that names them: those of a write that was refused, as by fencing, stay until
    their thread is deleted.

    Args:
        url: ``s3://bucket/prefix``; ``?region=...&endpoint=...`` may follow.
        create: make the bucket if it is not there.
        allow_weaker: use it even if it does not honour conditional writes; then only one process
            may use it.
        client: a client of your own, which is not closed; it serves one event loop.
        session: where clients come from, instead.
        clock: where time comes from; leases go by the server's clock.
        chance: where ids come from.
        lease: how this process proves that it is alive. Each sign of life is a request.
        archive: where threads go that are archived.
        encryption: how what is stored is encrypted; ``None`` if it is not.
        max_value_bytes: how large one value may be; see `durable_graph.saver.Saver`.
        options: how S3 is reached: region, endpoint_url, access_key_id, secret_access_key,
            session_token, connect_timeout, read_timeout, busy_timeout, connections.

    Raises:
        ConfigError: there can be no such bucket, prefix or option.
    """

    def __init__(
        self,
        url: str,
        *,
        create: bool = False,
        allow_weaker: bool = False,
        client: Any = None,
        session: AioSession | None = None,
        clock: Clock | None = None,
        chance: Chance | None = None,
        lease: Lease | None = None,
        archive: Archive | None = None,
        encryption: Encryption | None = None,
        max_value_bytes: int | None = None,
        **options: Any,
    ) -> None:
        place, named = options_of(url, form=_FORM, extra=("create", "allow_weaker"))
        name, _, prefix = place.partition("/")
        create = _flag(named, "create", otherwise=create)
        allow_weaker = _flag(named, "allow_weaker", otherwise=allow_weaker)
        backend = S3Backend(
            name,
            prefix,
            AwsOptions.of({**named, **options}),
            create=create,
            allow_weaker=allow_weaker,
            client=client,
            session=session,
            clock=clock,
            chance=chance,
        )
        super().__init__(
            backend,
            clock=clock,
            chance=chance,
            lease=lease,
            archive=archive,
            encryption=encryption,
            max_value_bytes=max_value_bytes,
        )

    @classmethod
    def from_conn_string(cls, conn_string: str, **options: Any) -> Self:
        """The saver on the bucket that a connection string names: a URL."""
        return cls(conn_string, **options)


def open_saver(url: str, **options: Any) -> S3Saver:
    """The saver for ``s3://bucket/prefix?region=eu-central-1``.

    Raises:
        ConfigError: the URL makes no sense.
    """
    return S3Saver(url, **options)


def _flag(named: dict[str, Any], name: str, *, otherwise: bool) -> bool:
    value = named.pop(name, None)
    if value is None:
        return otherwise
    if value not in _YES:
        raise ConfigError(f"{name} is true or false, not {value!r}.")
    return _YES[value]
