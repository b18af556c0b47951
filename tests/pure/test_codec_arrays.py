"""NumPy's arrays and scalars come back exactly, or are refused."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from durable_graph.errors import IntegrityError
from durable_graph.log.arrays import ARRAYS
from durable_graph.log.codec import Codec, UnstorableValueError

codec = Codec((), [ARRAYS])
elements = st.one_of(
    hnp.scalar_dtypes(),
    hnp.unicode_string_dtypes(),
    hnp.byte_string_dtypes(),
    st.sampled_from(
        [
            np.dtype([("a", "<i4"), ("b", ">f8"), ("c", "u1", (2, 3))]),
            np.dtype([("deep", [("x", "S3"), ("y", "M8[ms]")]), ("flag", "?")]),
        ]
    ),
)
arrays = st.builds(
    lambda array, order: np.asarray(array, order=order),
    hnp.arrays(elements, hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4)),
    st.sampled_from(["C", "F", "A"]),
)


def round_trip(value: Any) -> Any:
    return codec.decode(codec.encode(value))


def storable(dtype: np.dtype[Any]) -> bool:
    """C has several names for numbers of one size; only one of them has a stored form."""
    return np.dtype(dtype.str).type is dtype.type


@given(arrays)
def test_an_array_comes_back_exactly(array: np.ndarray[Any, Any]) -> None:
    """Element type, byte order, shape, order in memory, and every bit."""
    copy = round_trip({"k": [array]})["k"][0]
    assert type(copy) is np.ndarray
    assert (copy.dtype, copy.shape) == (array.dtype, array.shape)
    assert copy.dtype.str == array.dtype.str
    assert copy.tobytes() == array.tobytes()
    if array.flags.c_contiguous or array.flags.f_contiguous:
        assert copy.flags.f_contiguous == array.flags.f_contiguous


@given(arrays)
def test_an_array_belongs_to_its_reader(array: np.ndarray[Any, Any]) -> None:
    """It can be written to, and nothing else sees it."""
    data = codec.encode(array)
    first, second = codec.decode(data), codec.decode(data)
    assert first.flags.writeable
    assert not np.shares_memory(first, second)


def test_a_part_of_an_array_is_stored_as_what_it_is() -> None:
    """A view is stored by what it shows, not by what it is a view of."""
    whole = np.arange(20).reshape(4, 5)
    for part in (whole[::2], whole[:, 1], whole.T, whole[::-1], np.broadcast_to(whole[0], (3, 5))):
        assert np.array_equal(round_trip(part), part)
        assert len(codec.encode(part)) < 300


@given(hnp.scalar_dtypes().filter(storable).flatmap(hnp.from_dtype))
def test_a_scalar_comes_back_exactly(value: Any) -> None:
    """A number of NumPy's is not taken for one of Python's, though some are subclasses of it."""
    copy = round_trip([value])[0]
    assert type(copy) is type(value)
    assert np.asarray(copy).tobytes() == np.asarray(value).tobytes()
    assert copy.dtype == value.dtype


@pytest.mark.parametrize(
    "value",
    [
        np.str_("a\0"),
        np.str_(""),
        np.bytes_(b"a\0"),
        np.datetime64("NaT"),
        np.timedelta64(3, ("s", 25)),
        np.array([(1, 2.5)], dtype=[("a", "<i4"), ("b", ">f8")])[0],
    ],
    ids=lambda value: type(value).__name__,
)
def test_scalars_of_other_kinds_come_back(value: Any) -> None:
    """Text with zeros at its end, which NumPy would cut off; times with a unit; records."""
    copy = round_trip(value)
    assert type(copy) is type(value)
    assert copy.dtype == value.dtype
    assert copy == value or (copy != copy and value != value)


@pytest.mark.parametrize(
    "value",
    [
        np.array([object()]),
        np.array([{}, 1], dtype=object),
        np.ma.array([1, 2], mask=[False, True]),
        np.zeros(1, [("a", "O")]),
        np.zeros(2, np.dtype([("a", "i1"), ("b", "i8")], align=True)),
        np.longlong(3),
        np.zeros(1, [(("a title", "a"), "i1")]),
        np.recarray((1,), dtype=[("a", "i1")]),
    ],
    ids=["object", "objects", "masked", "record", "aligned", "longlong", "titled", "recarray"],
)
def test_what_would_not_come_back_exactly_is_refused(value: Any) -> None:
    """Objects in arrays, kinds of arrays with more to them, and gaps between fields."""
    with pytest.raises(UnstorableValueError):
        codec.encode([value])


@pytest.mark.parametrize(
    "parts",
    [
        b'["|O",[1],"C",{"~bytes":"AAAAAAAAAAA="}]',
        b'["O",[1],"C",{"~bytes":"AAAAAAAAAAA="}]',
        b'["<f8",[1000000000000],"C",{"~bytes":""}]',
        b'["<f8",[-1],"C",{"~bytes":""}]',
        b'["<f8",[0],"C",{"~bytes":"AAAAAAAAAAA="}]',
        b'["<f8",[true],"C",{"~bytes":"AAAAAAAAAAA="}]',
        b'["<f8",[1],"K",{"~bytes":"AAAAAAAAAAA="}]',
        b'["<f8",[1],"C",[0]]',
        b'["<f77",[1],"C",{"~bytes":"AAAAAAAAAAA="}]',
        b'["i4,f8",[1],"C",{"~bytes":"AAAAAAAAAAA="}]',
        b'[[["a","<i4",[100000000,1000000]]],[0],"C",{"~bytes":""}]',
        b'[[["a","|O",[]]],[1],"C",{"~bytes":"AAAAAAAAAAA="}]',
        b'[{"names":["a"],"formats":["O"]},[1],"C",{"~bytes":"AAAAAAAAAAA="}]',
        b'["<U3000000000",[0],"C",{"~bytes":""}]',
        b'["<f8",{"~range":[0,1000000000000,1]},"C",{"~bytes":""}]',
        b'[[["a","<f8",{"~range":[0,100000000,1]}]],[1],"C",{"~bytes":""}]',
    ],
)
def test_a_forged_array_is_refused(parts: bytes) -> None:
    """Bytes that no array has been written as make no objects, and ask for no memory."""
    with pytest.raises(IntegrityError):
        codec.decode(b'{"~type":["~numpy.ndarray",1,%b]}' % parts)


def test_a_number_is_no_text_of_numpy() -> None:
    """Of a number NumPy would make as many zeros: gigabytes, of a few bytes."""
    with pytest.raises(IntegrityError):
        codec.decode(b'{"~type":["~numpy.bytes_",1,[null,1000]]}')


@pytest.mark.parametrize("dtype", ["S0", "U0", "V0", [], [("a", "f8", (0,))]], ids=str)
def test_elements_without_bytes_take_neither_memory_nor_time(dtype: Any) -> None:
    """However many there are, and they are what they were."""
    array: np.ndarray[Any, Any] = np.ndarray((10**12, 1), dtype)
    copy = round_trip(array)
    assert (copy.dtype, copy.shape, copy.nbytes) == (array.dtype, array.shape, 0)


def test_an_array_is_read_only_where_numpy_is() -> None:
    """Reading imports nothing; it says what to import."""
    program = (
        "import sys\n"
        "from durable_graph.log.arrays import ARRAYS\n"
        "from durable_graph.log.codec import Codec\n"
        "import durable_graph\n"
        "assert 'numpy' not in sys.modules\n"
        f"Codec((), [ARRAYS]).decode({codec.encode(np.arange(3))!r})\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60
    )
    assert "UnknownTypeError: A stored value is a numpy.ndarray. Import numpy" in run.stderr
