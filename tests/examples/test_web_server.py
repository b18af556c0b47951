"""The web server's example, under uvicorn, on a real port, used by a real client over HTTP."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.examples.conftest import EXAMPLES

Event = tuple[str, Any]


@contextmanager
def serving(folder: Path, pace: float) -> Iterator[httpx.Client]:
    """A server in a process of its own; it has to stop well when it is told to.

    Args:
        folder: where its file is.
        pace: seconds for each token.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with subprocess.Popen(
        [sys.executable, "-W", "error", str(EXAMPLES / "web_server.py")],
        cwd=folder,
        env={**os.environ, "PORT": str(port), "PACE": str(pace)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            # The client comes back until it is let in: while the server starts, it is not.
            transport = httpx.HTTPTransport(retries=6)
            with httpx.Client(
                base_url=f"http://127.0.0.1:{port}", transport=transport, timeout=20
            ) as client:
                client.get("/health").raise_for_status()
                yield client
        finally:
            process.send_signal(signal.SIGINT)
            try:
                said, _ = process.communicate(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()
                raise
    assert (process.returncode, said) == (0, "")


def events(response: httpx.Response) -> Iterator[Event]:
    """Server-sent events, as they come: what kind, and what of it."""
    kind = ""
    for line in response.iter_lines():
        name, _, value = line.partition(": ")
        if name == "event":
            kind = value
        elif name == "data":
            yield kind, json.loads(value)


def post(client: httpx.Client, path: str, **body: str) -> list[Event]:
    """Everything that one call streams."""
    with client.stream("POST", path, json=body or None) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        return list(events(response))


def at_rest(client: httpx.Client, tasks: int | None = None) -> int:
    """How many tasks the server has once nothing is run any more; waits until it is so few.

    What has just answered may still be on its way out, so that the least of some looks counts.
    """
    until = time.monotonic() + 10
    seen: list[int] = []
    while time.monotonic() < until:
        health = client.get("/health").json()
        if " 0 runs" in health["saver"]:
            seen.append(health["tasks"])
            if len(seen) >= 20 and (tasks is None or min(seen) <= tasks):
                return min(seen)
    raise AssertionError(f"Still running: {health}")


def test_a_letter_is_written_and_sent(tmp_path: Path) -> None:
    """Tokens, then the stored update, then the question; the answer ends it."""
    with serving(tmp_path, 0) as client:
        shown = post(client, "/threads/1/start", text="the weather")
        tokens = [data[0]["content"] for kind, data in shown if kind == "messages"]
        letter = "Dear friend, on the weather nothing is known yet."
        assert "".join(tokens).strip() == letter
        assert [kind for kind, _ in shown] == ["messages"] * len(tokens) + ["updates"] * 2
        assert shown[-2][1]["write"]["messages"][0]["content"] == letter
        assert shown[-1][1]["__interrupt__"][0]["value"] == "Send this letter?"
        assert client.get("/threads/1").json()["asks"] == ["Send this letter?"]
        post(client, "/threads/1/answer", answer="yes")
        now = client.get("/threads/1").json()
        assert (now["messages"][-1]["content"], now["next"]) == ("It is sent.", [])
        refused = post(client, "/threads/1/answer", answer="again")
        assert [kind for kind, _ in refused] == ["NothingToResumeError"]


def test_a_client_that_leaves_stops_its_run(tmp_path: Path) -> None:
    """The run is cancelled, no task is left, and the thread goes on where it was."""
    with serving(tmp_path, 0.5) as client:
        post(client, "/threads/0/answer", answer="?")  # what the first stream starts, stays
        idle = at_rest(client)
        with client.stream("POST", "/threads/1/start", json={"text": "the weather"}) as response:
            shown = events(response)  # letting go of it would be leaving
            kind, data = next(shown)
            assert (kind, data[0]["content"]) == ("messages", "Dear ")
            health = client.get("/health").json()
            assert " 1 runs" in health["saver"]
            busy = post(client, "/threads/1/continue")
            assert [kind for kind, _ in busy] == ["ThreadBusyError"]
        at_rest(client, idle)
        now = client.get("/threads/1").json()
        assert (now["next"], len(now["messages"])) == (["write"], 1)
        went_on = post(client, "/threads/1/continue")
        assert went_on[-1][1]["__interrupt__"][0]["value"] == "Send this letter?"
        assert len(client.get("/threads/1").json()["messages"]) == 2


def test_a_server_that_is_stopped_leaves_its_threads_in_order(tmp_path: Path) -> None:
    """Told to stop in the middle of a stream it ends; the next server goes on."""
    with serving(tmp_path, 30) as client:
        response = client.send(
            client.build_request("POST", "/threads/1/start", json={"text": "the weather"}),
            stream=True,
        )
        shown = events(response)
        assert next(shown)[0] == "messages"
    with serving(tmp_path, 0) as client:
        assert client.get("/threads/1").json()["next"] == ["write"]
        went_on = post(client, "/threads/1/continue")
        assert went_on[-1][1]["__interrupt__"][0]["value"] == "Send this letter?"


@pytest.mark.parametrize("path", ["start", "answer"])
def test_a_call_without_a_body_is_refused(path: str, tmp_path: Path) -> None:
    """FastAPI says what is missing, and no thread is begun."""
    with serving(tmp_path, 0) as client:
        assert client.post(f"/threads/1/{path}").status_code == 422
        assert client.get("/threads/1").json() == {"messages": [], "next": [], "asks": []}
