"""What of a store is searched by meaning: from texts to vectors, by a model of the user's."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextvars import ContextVar, copy_context
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Literal, TypedDict

from durable_graph.decisions.texts import Path, parse_path, texts_at
from durable_graph.decisions.vectors import to_vector
from durable_graph.engine.workers import workers
from durable_graph.errors import MissingExtraError, StoreError

__all__ = ["Index", "IndexConfig", "inline", "parse_paths"]

_NAMES: Final = ("dims", "embed", "fields")

inline: Final[ContextVar[bool]] = ContextVar("inline", default=False)
"""Whether the caller's thread waits anyway, so that a function needs no other."""


class IndexConfig(TypedDict, total=False):
    """How a store's items are searched by meaning.

    Attributes:
        dims: how many numbers a vector has.
        embed: gives a vector for each of a list of texts: a function, sync or async; LangChain's
            `Embeddings`; or LangChain's name of a model, such as
            ``"openai:text-embedding-3-small"``. A sync one is called in a thread.
        fields: what of a value is searched: paths such as ``"notes[*].text"``; ``["$"]``, all of
            it, by default. Each text has a vector of its own, and the nearest counts.
    """

    dims: int
    embed: Any
    fields: Sequence[str] | None


class Index:
    """Turns texts into vectors.

    Args:
        config: see `IndexConfig`.

    Raises:
        StoreError: it makes no sense.
        MissingExtraError: a model was named, and LangChain is not installed.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        if not isinstance(config, Mapping) or "dims" not in config or "embed" not in config:
            raise StoreError(
                f"index is a dict such as {{'dims': 1536, 'embed': function}}, not {config!r:.200}."
            )
        for name in config:
            if name not in _NAMES:
                raise StoreError(f"index has {name!r}; there are {', '.join(_NAMES)}.")
        if type(config["dims"]) is not int or config["dims"] < 1:
            raise StoreError(f"dims is how many numbers a vector has, not {config['dims']!r:.200}.")
        self.dims: int = config["dims"]
        self._paths = parse_paths(config.get("fields") or ["$"])
        self._model = _Model.of(config["embed"])

    @property
    def waits(self) -> bool:
        """Whether its function needs an event loop."""
        return self._model.documents is None

    def texts(
        self, value: Mapping[str, Any], index: Literal[False] | Sequence[str] | None
    ) -> list[str]:
        """What of a value is searched."""
        if index is False:
            return []
        paths = self._paths if index is None else parse_paths(index)
        return [text for path in paths for text in texts_at(value, path)]

    async def documents(self, texts: Sequence[str]) -> dict[str, bytes]:
        """Vectors of texts that are put, each text once."""
        different = list(dict.fromkeys(texts))
        if not different:
            return {}
        vectors = await self._model.embed(different)
        return {
            text: to_vector(vector, self.dims)
            for text, vector in zip(different, vectors, strict=True)
        }

    async def query(self, text: str) -> bytes:
        """The vector of a text that is searched for."""
        return to_vector(await self._model.embed_query(text), self.dims)


def parse_paths(index: Any) -> list[Path]:
    """Paths into a value.

    Raises:
        StoreError: they are no list of paths.
    """
    if isinstance(index, str) or not isinstance(index, Sequence):
        raise StoreError(
            f"index is a list of paths such as ['notes[*].text'], or False, not {index!r:.200}."
        )
    return [parse_path(path) for path in index]


@dataclass(frozen=True, slots=True)
class _Model:
    """What gives vectors, sync or async or both; ways for a query are there if they differ."""

    documents: Callable[[Any], Any] | None = None
    query: Callable[[Any], Any] | None = None
    adocuments: Callable[[Any], Any] | None = None
    aquery: Callable[[Any], Any] | None = None

    @classmethod
    def of(cls, embed: Any) -> _Model:
        if isinstance(embed, str):
            embed = _named(embed)
        methods = [
            getattr(embed, name, None)
            for name in ("embed_documents", "embed_query", "aembed_documents", "aembed_query")
        ]
        if any(methods):
            return cls(*methods)
        if not callable(embed):
            raise StoreError(
                f"embed is a function from texts to vectors, LangChain's Embeddings, or the name "
                f"of a model, not {embed!r:.200}."
            )
        of_object = getattr(embed, "__call__", None)  # noqa: B004 - what kind of function it is
        if inspect.iscoroutinefunction(embed) or inspect.iscoroutinefunction(of_object):
            return cls(adocuments=embed)
        return cls(documents=embed)

    async def embed(self, texts: list[str]) -> list[Any]:
        found = await self._call(self.documents, self.adocuments, texts)
        if not isinstance(found, Iterable):
            raise StoreError(f"`embed` has to return a list of vectors, not {found!r:.200}.")
        vectors = list(found)
        if len(vectors) != len(texts):
            raise StoreError(
                f"`embed` was given {len(texts)} texts and returned {len(vectors)} vectors; it "
                f"has to return one for each."
            )
        return vectors

    async def embed_query(self, text: str) -> Any:
        if self.query is None and self.aquery is None:
            return (await self.embed([text]))[0]
        return await self._call(self.query, self.aquery, text)

    async def _call(
        self,
        function: Callable[[Any], Any] | None,
        later: Callable[[Any], Any] | None,
        argument: Any,
    ) -> Any:
        here = inline.get()
        if later is not None and not (here and function is not None):
            return await later(argument)
        assert function is not None  # noqa: S101 - for type checkers
        call = partial(function, argument)
        found = call() if here else await workers.run(call, copy_context())
        if inspect.isawaitable(found):
            if inspect.iscoroutine(found):
                found.close()
            raise StoreError("embed returned something to await. Make it an `async def`.")
        return found


def _named(name: str) -> Any:
    try:
        from langchain.embeddings import init_embeddings
    except ImportError as error:
        raise MissingExtraError(
            f"embed={name!r} names a model of LangChain's, which is not installed: "
            f"pip install langchain, or give a function."
        ) from error
    return init_embeddings(name)
