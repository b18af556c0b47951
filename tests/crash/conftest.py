"""Nothing goes wrong unseen: check I8 for every test that runs an event loop."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator
from typing import Any

import pytest_asyncio

from tests.crash.harness.storage import only_crashes


@pytest_asyncio.fixture(autouse=True)
async def no_error_is_swallowed() -> AsyncIterator[None]:
    """No task fails without somebody hearing of it."""
    unheard: list[dict[str, Any]] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda loop, context: unheard.append(context))
    yield
    gc.collect()
    await asyncio.sleep(0)
    unheard = [context for context in unheard if not only_crashes(context.get("exception"))]
    assert unheard == [], f"I8: {unheard}"
