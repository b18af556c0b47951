"""What an answer must look like: response schemas, and answers checked against them.

A question is stored with the JSON schema of its answers, so whoever answers, in whatever process,
can have the answer checked before anything is stored. The type that the schema was made from is
known only where the node runs; there it says the last word, and makes the object the node gets.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import json
import sys
import typing
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import PurePath
from typing import Any, Final
from uuid import UUID

from durable_graph.errors import InvalidAnswerError, ResponseSchemaError
from durable_graph.log.records import Ask

__all__ = ["Form", "KnownForms", "checked", "extended"]

_MANY: Final = 256


@dataclass(frozen=True, slots=True)
class Form:
    """What the answers to a question must look like.

    Attributes:
        schema: as a JSON schema.
        type: the type that it was made from; ``None`` if it was given as it is.
    """

    schema: Any
    type: Any = None

    @classmethod
    def of(cls, given: Any) -> Form:
        """Read a `response_schema`: a JSON schema, or a type.

        Raises:
            ResponseSchemaError: it is neither, or the packages that check answers are missing.
        """
        if isinstance(given, dict):
            form = cls(json.loads(_dumped(given, "The response_schema")))
        else:
            form = cls(_schema_of(given), given)
        _check_schema(form.schema)
        return form

    def take(self, data: Any) -> Any:
        """What the node gets for an answer that was stored.

        Raises:
            InvalidAnswerError: the type refuses it, for a reason that its schema cannot state.
        """
        if self.type is None:
            return data
        import pydantic

        try:
            # By way of JSON, so that strict types take what JSON has no type for.
            return _adapter(self.type).validate_json(json.dumps(data))
        except pydantic.ValidationError as error:
            raise InvalidAnswerError(
                f"{_name(self.type)} refuses the answer: {error}. Answer again."
            ) from error


class KnownForms:
    """The forms that the nodes of a graph have been seen to ask for, with their types.

    So that where the node has run, an answer that only its type can refuse is refused before it
    is stored. Elsewhere the node refuses it, and asks once more.
    """

    def __init__(self) -> None:
        self._forms: dict[bytes, Form] = {}

    def remember(self, schema: bytes, form: Form) -> None:
        """A node asks for this, with this encoded schema."""
        known = self._forms.get(schema)
        if known is not None and known.type is not form.type:
            form = Form(form.schema)  # two types with one schema: either may be meant
        elif len(self._forms) >= _MANY and known is None:
            self._forms.clear()  # types that are made anew each time would pile up
        self._forms[schema] = form

    def find(self, schema: bytes) -> Form | None:
        """The form of a question; ``None`` if it was not seen here."""
        return self._forms.get(schema)


def checked(ask: Ask, answer: Any, thaw: Callable[[bytes], Any], form: Form | None) -> Any:
    """An answer as it is to be stored; of a question with a schema, plain JSON data.

    Args:
        ask: the question.
        answer: the answer; for a question with a schema, an object of its type will do, too.
        thaw: decodes what is stored.
        form: what the node asked for, if that is known here.

    Raises:
        InvalidAnswerError: it is not what the question asks for; the message says why.
        ResponseSchemaError: it cannot be checked here.
    """
    if ask.schema is None:
        return answer
    try:
        data = json.loads(_dumped(answer, f"The answer to {ask.id}"))
    except ResponseSchemaError as error:
        raise InvalidAnswerError(str(error)) from error
    wrong = next(_errors(thaw(ask.schema), data), None)
    if wrong is not None:
        raise InvalidAnswerError(
            f"The answer does not fit the response_schema of question {ask.id}: {wrong}. Nothing "
            f"was changed; answer again."
        )
    if form is not None:
        form.take(data)
    return data


def _dumped(value: Any, what: str) -> str:
    try:
        return json.dumps(value, default=_plain, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise ResponseSchemaError(f"{what} is no JSON data: {error}.") from error


def _plain(value: Any) -> Any:
    """Objects as JSON has them: what people answer with where they have the question's type."""
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json", by_alias=True)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, (set, frozenset)):
        return list(value)
    if hasattr(value, "isoformat"):
        return value.isoformat()
    if isinstance(value, (UUID, Decimal, PurePath)):
        return str(value)
    raise TypeError(f"{type(value).__name__} is nothing that JSON has")


def _schema_of(given: Any) -> Any:
    try:
        import pydantic
    except ImportError as error:
        raise ResponseSchemaError(_missing("A type as response_schema", "pydantic")) from error
    try:
        return _adapter(given).json_schema()
    except pydantic.errors.PydanticUserError as error:
        raise ResponseSchemaError(
            f"{given!r} cannot be a response_schema: {error}. Give a JSON schema as a dict, a "
            f"pydantic model, a TypedDict, a dataclass or another type of plain data."
        ) from error


def _adapter(given: Any) -> Any:
    try:
        return _cached_adapter(given)
    except TypeError:  # an annotation that cannot be hashed
        return _new_adapter(given)


def _new_adapter(given: Any) -> Any:
    import pydantic

    return pydantic.TypeAdapter(extended(given) if sys.version_info < (3, 12) else given)


def extended(hint: Any) -> Any:
    """A type with what pydantic can read in place of its TypedDicts: before Python 3.12 it takes
    those of `typing_extensions` only."""
    import typing_extensions

    if typing.is_typeddict(hint):
        fields: dict[str, Any] = {}
        for key, part in typing.get_type_hints(hint, include_extras=True).items():
            # Of annotations that are text, only these hints know what they say of the key.
            mark = typing.get_origin(part)
            if mark in (typing.Required, typing.NotRequired):
                (part,) = typing.get_args(part)  # noqa: PLW2901
            else:
                required = key in hint.__required_keys__
                mark = typing.Required if required else typing.NotRequired
            fields[key] = mark[extended(part)]
        return typing_extensions.TypedDict(hint.__name__, fields)  # type: ignore[operator]
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (list, dict, tuple, set, frozenset) and arguments:
        return origin[tuple(map(extended, arguments))]
    return hint


_cached_adapter = functools.lru_cache(_MANY)(_new_adapter)


def _check_schema(schema: Any) -> None:
    """See that answers can be checked against a schema; else none would ever be taken."""
    kind = type(_validator(schema))
    import jsonschema
    import referencing
    from referencing.exceptions import Unresolvable
    from referencing.jsonschema import DRAFT202012

    try:
        kind.check_schema(schema)
        resource = referencing.Resource.from_contents(schema, DRAFT202012)
        base = resource.id() or ""
        resolver = referencing.Registry().with_resource(base, resource).resolver(base)
        for part in _parts(schema):
            if isinstance(reference := part.get("$ref"), str):
                resolver.lookup(reference)
    except jsonschema.SchemaError as error:
        raise ResponseSchemaError(
            f"The response_schema is no JSON schema: {error.message}."
        ) from error
    except Unresolvable as error:
        raise ResponseSchemaError(
            f"The response_schema refers to {error.ref!r}, which is not in it. Put it under $defs; "
            f"nothing is fetched."
        ) from error


def _parts(schema: Any) -> Iterator[dict[str, Any]]:
    """A schema and what it consists of."""
    if isinstance(schema, dict):
        yield schema
    inner = schema.values() if isinstance(schema, dict) else schema
    for part in inner if isinstance(schema, (dict, list)) else ():
        yield from _parts(part)


def _errors(schema: Any, data: Any) -> Iterator[str]:
    for error in _validator(schema).iter_errors(data):
        where = error.json_path.removeprefix("$").removeprefix(".")
        yield f"{where}: {error.message}" if where else error.message


def _validator(schema: Any) -> Any:
    try:
        import jsonschema
        import referencing
    except ImportError as error:
        raise ResponseSchemaError(_missing("A response_schema", "jsonschema")) from error
    kind: Any = jsonschema.validators.validator_for(schema, jsonschema.Draft202012Validator)
    # A registry of its own: the default one would fetch what a schema refers to.
    return kind(schema, registry=referencing.Registry())


def _missing(what: str, package: str) -> str:
    return (
        f"{what} needs the package {package}, which is not installed here: "
        f"pip install 'durable-graph[schema]'."
    )


def _name(given: Any) -> str:
    return getattr(given, "__name__", None) or repr(given)
