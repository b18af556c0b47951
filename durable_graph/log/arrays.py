"""NumPy's arrays and scalars, exactly: element type, byte order, shape, and order in memory.

NumPy is never imported here: who has an array to store has imported it, and an array that was
stored is read where that has been done.
"""

from __future__ import annotations

import math
import re
import sys
from typing import Any, Final

from durable_graph.errors import UnknownTypeError
from durable_graph.log.registered import TypeCodec
from durable_graph.log.standard import UnstorableValueError

__all__ = ["ARRAYS", "ArrayFamily"]

_PREFIX: Final = "~numpy."

# Bool, numbers, times, bytes, text, raw bytes; never "O", which are Python's objects.
_ELEMENT: Final = re.compile(r"[<>|][biufcmMSUV][0-9]+(\[[0-9]*[A-Za-z]+\])?")


class ArrayFamily:
    """The `TypeFamily` of NumPy."""

    def by_class(self, cls: type[Any]) -> TypeCodec | None:
        """How instances of this class are stored, if it is NumPy's own."""
        numpy = sys.modules.get("numpy")
        if numpy is None:
            return None
        if cls is numpy.ndarray:
            return TypeCodec(_PREFIX + "ndarray", cls, _array_parts, _array)
        if not issubclass(cls, numpy.generic):
            return None
        encode = _plain if issubclass(cls, (str, bytes)) else _scalar_parts
        return TypeCodec(_PREFIX + cls.__name__, cls, encode, _scalar)

    def by_tag(self, tag: str) -> TypeCodec | None:
        """How to read one of NumPy's types.

        Raises:
            UnknownTypeError: it is one, and NumPy has not been imported.
        """
        if not tag.startswith(_PREFIX):
            return None
        numpy = sys.modules.get("numpy")
        if numpy is None:
            raise UnknownTypeError(
                f"A stored value is a {tag[1:]}. Import numpy where the graph is made, so that it "
                f"can be read."
            )
        if tag == _PREFIX + "ndarray":
            return TypeCodec(tag, numpy.ndarray, _array_parts, _array)
        return TypeCodec(tag, numpy.generic, _scalar_parts, _scalar)


ARRAYS: Final = ArrayFamily()


def _array_parts(value: Any) -> list[Any]:
    order = "F" if value.flags.f_contiguous and not value.flags.c_contiguous else "C"
    return [_form(value.dtype), list(value.shape), order, value.tobytes(order)]


def _array(parts: Any, version: int) -> Any:
    form, shape, order, data = parts
    numpy: Any = sys.modules["numpy"]
    dtype = _dtype(form)
    if any(type(length) is not int or length < 0 for length in _listed(shape)):
        raise ValueError(shape)
    # Before anything is made: what a damaged shape asks for may not fit into memory.
    if math.prod(shape) * dtype.itemsize != len(data) or order not in ("C", "F"):
        raise ValueError(shape)
    if dtype.itemsize == 0:  # copying takes time, and for text memory, for elements without bytes
        return numpy.ndarray(tuple(shape), dtype, order=order)
    return numpy.ndarray(tuple(shape), dtype, buffer=data, order=order).copy(order)


def _listed(shape: Any) -> list[Any]:
    if type(shape) is not list:  # of a range, a few bytes are more numbers than there is memory
        raise ValueError(shape)
    return shape


def _scalar_parts(value: Any) -> list[Any]:
    numpy: Any = sys.modules["numpy"]
    lone = numpy.asarray(value)
    parts = [_form(lone.dtype), lone.tobytes()]
    if type(_scalar(parts, 1)) is not type(value):  # C has several names for one kind of number
        kind = type(value).__name__
        raise UnstorableValueError(f"a numpy.{kind} has no stored form; use a sized type")
    return parts


def _plain(value: Any) -> Any:
    # By the base class's own hand: NumPy's leaves out zeros at the end.
    return [None, bytes(value) if isinstance(value, bytes) else str.__str__(value)]


def _scalar(parts: Any, version: int) -> Any:
    form, data = parts
    numpy: Any = sys.modules["numpy"]
    if form is None:
        if type(data) not in (str, bytes):  # of a number, `bytes_` makes so many zeros
            raise ValueError(data)
        return numpy.str_(data) if type(data) is str else numpy.bytes_(data)
    return _array([form, [], "C", data], version)[()]


def _form(dtype: Any) -> Any:
    """An element type as data: its code; of a record, name, form and shape of each field."""
    form = _parts_of(dtype)
    try:
        exact = _dtype(form) == dtype
    except ValueError:
        exact = False
    if not exact:
        raise UnstorableValueError(
            f"an array of the element type {dtype} has no stored form; convert it to plain "
            f"numbers or text, or return array.tolist()"
        )
    return form


def _parts_of(dtype: Any) -> Any:
    if dtype.names is None:
        return dtype.str
    fields = []
    for name in dtype.names:
        field = dtype.fields[name][0]
        fields.append([name, _parts_of(field.base), list(field.shape)])
    return fields


def _dtype(form: Any) -> Any:
    numpy: Any = sys.modules["numpy"]
    if type(form) is list:
        return numpy.dtype(
            [(name, _dtype(part), tuple(_listed(shape))) for name, part, shape in form]
        )
    if type(form) is not str or not _ELEMENT.fullmatch(form):
        raise ValueError(form)
    try:
        return numpy.dtype(form)
    except TypeError as error:
        raise UnknownTypeError(
            f"A stored array has elements of the type {form!r}, which this machine does not have."
        ) from error
