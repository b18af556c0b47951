"""Giving types of one's own a stored form."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

from durable_graph.errors import GraphDefinitionError
from durable_graph.log.registered import REGISTRY, TypeCodec
from durable_graph.log.standard import WRITERS
from durable_graph.secret import Secret
from durable_graph.state.storable import derived

__all__ = ["register_type"]

T = TypeVar("T")

_OWN_FORM: Final = {*WRITERS, str, int, bool, float, list, dict, type(None), object, type}


def register_type(
    tag: str,
    cls: type[T],
    encode: Callable[[T], Any] | None = None,
    decode: Callable[[Any, int], T] | None = None,
    *,
    version: int = 1,
) -> None:
    """Say how a type is stored, in all graphs of this process; before they are compiled.

    A type that a graph's annotations mention needs this only to have another form or name than
    its own; one that no annotation mentions needs it to be stored at all.

    Args:
        tag: the name that stands for the type in stored bytes. It is how old values are found to
            be of this type: it must not change, whatever becomes of the class's name.
        cls: the type. Instances of subclasses are not taken.
        encode: turns an instance into anything that can be stored. It must not change it.
        decode: turns ``(data, version)`` back into an instance, where `version` is the one that
            the data was written with: this one, or any that came before.
        version: raise it when what `encode` returns changes, and go on reading the earlier ones.

    Without `encode` and `decode`, a dataclass, pydantic model, enum or named tuple is stored by
    its fields, as one that an annotation mentions is.

    Raises:
        GraphDefinitionError: the name stands for another type, or something cannot be what it is
            given as.
    """
    if not isinstance(cls, type):
        raise GraphDefinitionError(f"register_type takes a class, not {cls!r}.")
    if issubclass(cls, Secret):
        raise GraphDefinitionError("A Secret is never stored, so it can have no stored form.")
    if cls in _OWN_FORM:
        raise GraphDefinitionError(f"A {cls.__name__} has a stored form already: its own.")
    if not isinstance(tag, str) or not tag.isprintable() or not tag or tag[0] == "~":
        raise GraphDefinitionError(
            f'A stored name is a text such as "shop.Order", and does not begin with "~"; '
            f"{tag!r} cannot be one."
        )
    if type(version) is not int or not 1 <= version < 2**63:
        raise GraphDefinitionError(
            f"The version of {tag!r} is a whole number from 1, not {version!r}."
        )
    if encode is None and decode is None:
        entry = derived(cls, tag)
        if entry is None:
            raise GraphDefinitionError(
                f"{cls!r} does not say what it consists of, as dataclasses and pydantic models do: "
                f"register_type({tag!r}, {cls.__name__}, encode, decode)."
            )
        if version != 1:
            raise GraphDefinitionError(
                f"Only who gives {tag!r} an encoder and a decoder can give it a version."
            )
    elif callable(encode) and callable(decode):
        entry = TypeCodec(tag, cls, encode, decode, version)
    else:
        raise GraphDefinitionError(f"{tag!r} needs two functions, an encoder and a decoder.")
    try:
        REGISTRY.add(entry)
    except ValueError as error:
        raise GraphDefinitionError(str(error)) from None
