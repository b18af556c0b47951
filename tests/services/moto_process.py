"""A server that speaks like DynamoDB and S3, in this process; it ends when its input does.

So it is gone however those that started it end, and they know its port from its first line.
"""

from __future__ import annotations

import copy
import io
import logging
import sys
import threading
from collections.abc import Callable, Iterable
from typing import Any

from moto.dynamodb import models
from moto.dynamodb.comparisons import get_filter_expression
from moto.dynamodb.models.table import Table
from moto.moto_server.werkzeug_app import (
    DomainDispatcherApplication,
    MotoRequestHandler,
    create_backend_app,
)
from werkzeug.serving import make_server


class _Handler(MotoRequestHandler):
    def send_header(self, keyword: str, value: str) -> None:
        # The web server's own: moto says it, too, and strict clients refuse both.
        if keyword != "Server":
            super().send_header(keyword, value)


class _OneByOne:
    """A web application that does one thing at a time.

    Moto undoes a failed transaction by putting back the whole table as it was before, together
    with what others have written to it meanwhile.
    """

    def __init__(self, inner: Callable[..., Iterable[bytes]]) -> None:
        self._inner = inner
        self._lock = threading.Lock()

    def __call__(self, environ: dict[str, Any], start: Any) -> list[bytes]:
        # All of it first: whoever asks may be stopped in the middle of his request.
        environ["wsgi.input"] = io.BytesIO(_body(environ))
        with self._lock:
            return list(self._inner(environ, start))


def _body(environ: dict[str, Any]) -> bytes:
    stream = environ["wsgi.input"]
    if environ.get("wsgi.input_terminated"):  # sent in chunks, which the web server has undone
        whole: bytes = stream.read()
    else:
        whole = stream.read(int(environ.get("CONTENT_LENGTH") or 0))
    return whole


class _Copies:
    """Copies of everything but tables."""

    @staticmethod
    def deepcopy(thing: Any) -> Any:
        return thing if isinstance(thing, Table) else copy.deepcopy(thing)


def _holds(backend: Any, request: dict[str, Any]) -> bool:
    """Whether what a part of a transaction asks for is so."""
    ((_, sent),) = request.items()
    if "ConditionExpression" not in sent:
        return True
    table = backend.get_table(sent["TableName"])
    names = (table.hash_key_attr, table.range_key_attr)
    source = sent.get("Key") or sent["Item"]
    current = backend.get_item(sent["TableName"], {n: source[n] for n in names if n})
    condition = get_filter_expression(
        sent["ConditionExpression"],
        sent.get("ExpressionAttributeNames"),
        sent.get("ExpressionAttributeValues"),
    )
    return bool(condition.expr(current))


def _without_copies() -> None:
    """Have transactions copy the whole table only if they are going to fail.

    Moto does so each time, to put the copy back if need be; of a thousand items that takes longer
    than all the rest. Here nothing else happens meanwhile, so one can look beforehand.
    """
    transact = models.DynamoDBBackend.transact_write_items

    def made(backend: Any, requests: list[dict[str, Any]]) -> None:
        if all(_holds(backend, request) for request in requests):
            setattr(models, "copy", _Copies)  # noqa: B010 - it is not declared to be anything
        try:
            transact(backend, requests)
        finally:
            setattr(models, "copy", copy)  # noqa: B010

    setattr(models.DynamoDBBackend, "transact_write_items", made)  # noqa: B010


def main() -> None:
    """Serve until the standard input ends."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # a line for each request otherwise
    _without_copies()
    app = _OneByOne(DomainDispatcherApplication(create_backend_app))
    server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=_Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(server.port, flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
