"""One target under atheris: ``python -m tests.fuzz.one NAME [FILE or FOLDER...] [-option...]``.

Options are libFuzzer's. With a file, the target reads that file and nothing else.
"""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(include=["durable_graph"], exclude=["durable_graph.testing"]):
    from tests.fuzz.bounds import Bounds
    from tests.fuzz.mutating import mutator
    from tests.fuzz.targets import TARGETS


def main() -> None:
    """Fuzz until something is found or the time is over."""
    target = TARGETS[sys.argv[1]]
    bounds = Bounds()

    def bytewise(data: bytes, most: int) -> bytes:
        changed: bytes = atheris.Mutate(data, most)  # another function once it fuzzes
        return changed

    atheris.Setup(
        [sys.argv[0], *sys.argv[2:]],
        lambda data: bounds.check(target, data),
        custom_mutator=mutator(target.seeds, bytewise),
    )
    atheris.Fuzz()


if __name__ == "__main__":
    main()
