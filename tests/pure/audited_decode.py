"""A process that decodes what it is given, line by line, and reports all it did meanwhile.

Reads hexadecimal lines; answers each with a JSON line: the error's class, and the audit events and
module searches that happened during the call. An audit hook cannot be removed, hence the process.
"""

from __future__ import annotations

import importlib.abc
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from durable_graph.log.codec import Codec
from durable_graph.state.messages import MESSAGE_TYPES
from durable_graph.state.storable import storable_types


@dataclass
class Known:
    """A type that the application registered."""

    value: Any = None


class Watch(importlib.abc.MetaPathFinder):
    """Sees audit events and searches for modules, while it is told to."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.watching = False

    def hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.watching:
            self.seen.append(f"{event} {arguments!r:.80}")

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        # importlib.import_module raises no audit event by itself.
        if self.watching:
            self.seen.append(f"find {name}")
        return None


def main() -> None:
    """Answer until the input ends."""
    codec = Codec([*MESSAGE_TYPES, *storable_types(Known)])
    watch = Watch()
    sys.addaudithook(watch.hook)
    sys.meta_path.insert(0, watch)
    for line in sys.stdin:
        data = bytes.fromhex(line)
        watch.seen, watch.watching = [], True
        try:
            codec.decode(data)
            raised = None
        except BaseException as error:
            raised = error
        watch.watching = False
        names = [kind.__name__ for kind in type(raised).__mro__] if raised else []
        print(json.dumps({"raised": names, "seen": watch.seen}), flush=True)


if __name__ == "__main__":
    main()
