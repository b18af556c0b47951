"""Types of libraries that are not needed, and known when they are met."""

from __future__ import annotations

from typing import Any, Final

from durable_graph.errors import UnknownTypeError
from durable_graph.log.arrays import ARRAYS
from durable_graph.log.registered import TypeCodec, TypeFamily
from durable_graph.state.langchain import PREFIX, foreign_class, home_of
from durable_graph.state.storable import derived

__all__ = ["FAMILIES", "LangChainFamily"]


class LangChainFamily:
    """The `TypeFamily` of LangChain's messages and documents."""

    def by_class(self, cls: type[Any]) -> TypeCodec | None:
        """How instances of this class are stored, if it is one of them."""
        return derived(cls) if cls.__module__ == home_of(cls.__name__) else None

    def by_tag(self, tag: str) -> TypeCodec | None:
        """How to read one of them.

        Raises:
            UnknownTypeError: it is one, and LangChain has not been imported.
        """
        name = tag.removeprefix(PREFIX)
        cls = foreign_class(name)
        if cls is not None:
            # Without the prefix as well: so format 1 has those that an annotation mentioned.
            return derived(cls, tag)
        if name == tag or home_of(name) is None:
            return None
        raise UnknownTypeError(
            f"A stored value is LangChain's {name}. Import {home_of(name)} where the graph is "
            f"made, so that it can be read."
        )


FAMILIES: Final[tuple[TypeFamily, ...]] = (LangChainFamily(), ARRAYS)
"""Where a graph's codec looks for types that neither annotations nor the application name."""
