"""A server that speaks like DynamoDB and S3, in this process; it ends when its input does.

So it is gone however those that started it end, and they know its port from its first line.
"""

from __future__ import annotations

import logging
import sys
import threading

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


def main() -> None:
    """Serve until the standard input ends."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # a line for each request otherwise
    app = DomainDispatcherApplication(create_backend_app)
    server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=_Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(server.port, flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
