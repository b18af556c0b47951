"""What the code can write, found in the code itself, and what a corpus holds of it."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, fields
from types import ModuleType
from typing import Any, Final, get_args

import orjson

from durable_graph.engine.runs import editing, inbox, inner, invoke, opening, run
from durable_graph.engine.storage import runlog
from durable_graph.log import codec, delta, records
from durable_graph.log.records import (
    Answers,
    Ask,
    Body,
    Commit,
    DueTask,
    Kind,
    Mark,
    Outcome,
    Source,
    Status,
    Step,
    Steps,
    TaskResults,
    decode_body,
)
from durable_graph.log.seal import CommitInfo, Header, open_record
from tests.golden.stored import Thing, to_record

__all__ = ["held", "known"]

_ENGINE: Final = (editing, inbox, inner, invoke, opening, run, runlog)


def known() -> dict[str, set[str]]:
    """Everything that a thread can be stored with, by what it is."""
    return {
        "kind": set(get_args(Kind)),
        "status": set(get_args(Status)),
        "source": set(get_args(Source)),
        "op": _codes(delta, "_apply"),
        "op that is read": _codes(records, "_read_op"),
        "tag": set(codec._RESTORE),
        "body": {kind.__name__ for kind in get_args(Body)},
        "commit": _names(Commit),
        "outcome": _names(Outcome),
        "ask": _names(Ask),
        "answers": _names(Answers),
        "due task": _names(DueTask),
        "step": _names(Step),
        "state of a step": {"claimed", "done", "failed"},
        "header": _names(Header) | _names(CommitInfo),
        "mark": _marks(),
        "reason": _reasons(),
        "verdict": {
            *("", "None"),
            *(inbox._ANSWERED, inbox._INVALID, inbox._LATE, inbox._UNKNOWN),
        },
    }


def held(things: list[tuple[str, Thing]]) -> dict[str, set[str]]:
    """What a stored thread holds of that."""
    found: dict[str, set[str]] = {name: set() for name in known()}
    (head,) = (thing for kind, thing in things if kind == "thread")
    found["status"].add(head["status"])
    found["reason"].add(str(orjson.loads(head["state"])["reason"]))
    previous = b""
    for kind, thing in things:
        if kind == "message":
            found["verdict"].add(str(thing["verdict"]))
            _note(found, decode_body("answers", thing["body"]))
        elif kind == "blob":
            found["tag"].update(_tags(orjson.loads(thing["data"])))
        elif kind == "record":
            record = to_record(thing, previous)
            previous = record.link
            found["kind"].add(record.kind)
            if record.body is not None:
                header, body = open_record(record, head["secret"], head["thread"])
                _note(found, body)
                _fill(found["header"], header)
                if header.commit is not None:
                    _fill(found["header"], header.commit)
                    found["source"].add(header.commit.source)
                for line in record.body.split(b"\n")[1:]:
                    found["tag"].update(_tags(orjson.loads(line)))
    return found


def _note(found: dict[str, set[str]], body: Body) -> None:
    found["body"].add(type(body).__name__)
    match body:
        case Commit(outcomes, changes, _, _, due, ready):
            _fill(found["commit"], body)
            for kept in body.kept:
                _note_outcomes(found, kept.outcomes)
            for task in due:
                _fill(found["due task"], task)
            _note_ops(found, (changes or {}).values())
            _note_outcomes(found, [*outcomes, *ready])
        case TaskResults(outcomes):
            _note_outcomes(found, outcomes)
        case Steps(steps):
            for step in steps:
                _fill(found["step"], step)
                found["state of a step"].add(step.state)
        case Mark(event):
            found["mark"].add(event)
        case Answers():
            _fill(found["answers"], body)


def _note_outcomes(found: dict[str, set[str]], outcomes: Any) -> None:
    for outcome in outcomes:
        _fill(found["outcome"], outcome)
        for ask in outcome.asks:
            _fill(found["ask"], ask)
        for update in outcome.writes:
            _note_ops(found, update.values())


def _note_ops(found: dict[str, set[str]], ops: Any) -> None:
    codes = {op[0] for op in ops if isinstance(op, tuple)}
    found["op"] |= codes
    found["op that is read"] |= codes


def _fill(found: set[str], thing: Any) -> None:
    """Note which fields of an object say something."""
    for field in fields(thing):
        value = getattr(thing, field.name)
        empty = None if field.default is MISSING else field.default
        if value != empty and value not in ((), {}, [], ""):
            found.add(field.name)


def _tags(plain: Any) -> Iterator[str]:
    if isinstance(plain, list):
        for item in plain:
            yield from _tags(item)
    elif isinstance(plain, dict):
        for name, item in plain.items():
            if len(plain) == 1 and name.startswith("~"):
                yield name
            yield from _tags(item)


def _names(kind: Any) -> set[str]:
    return {field.name for field in fields(kind)}


# -- looking into the code ---------------------------------------------------------------------


def _codes(module: ModuleType, function: str) -> set[str]:
    """The codes of operations that a function tells apart: the first parts of its patterns."""
    tree = ast.parse(inspect.getsource(getattr(module, function)))
    return {
        code
        for node in ast.walk(tree)
        if isinstance(node, ast.MatchSequence)
        for code in _texts(node.patterns[0], {})
    }


def _marks() -> set[str]:
    """Every event of a mark that the engine writes."""
    found: set[str] = set()
    for module in _ENGINE:
        for node in ast.walk(_tree(module)):
            if isinstance(node, ast.Call) and _named(node.func) == "Mark":
                found.update(_texts(node.args[0], vars(module)))
                if _named(node.args[0]) == "status":  # of a run that did not come to its end
                    found |= {"asking", "stopped", "failed"}
    return found


def _reasons() -> set[str]:
    """Every reason that the engine gives for a thread's not running; with one for a failure."""
    found = {"None", "ValueError"}
    for module in _ENGINE:
        for node in ast.walk(_tree(module)):
            if isinstance(node, ast.Call) and _named(node.func) == "Stop":
                for argument in node.args[1:2]:
                    found.update(_texts(argument, vars(module)))
            elif isinstance(node, ast.Assign) and "reason" in map(_named, _targets(node)):
                for value in _values(node):
                    found.update(_texts(value, vars(module)))
    return found


def _targets(node: ast.Assign) -> list[ast.expr]:
    target = node.targets[0]
    return target.elts if isinstance(target, ast.Tuple) else [target]


def _values(node: ast.Assign) -> list[ast.expr]:
    places = [place for place, one in enumerate(_targets(node)) if _named(one) == "reason"]
    if isinstance(node.value, ast.Tuple):
        return [node.value.elts[place] for place in places]
    return [node.value]


def _named(node: ast.AST) -> str:
    return str(getattr(node, "attr", getattr(node, "id", "")))


def _texts(node: ast.AST, names: Mapping[str, Any]) -> Iterator[str]:
    """The texts that a piece of code may come to, those that stand under a name included."""
    if isinstance(node, ast.IfExp):
        yield from _texts(node.body, names)
        yield from _texts(node.orelse, names)
    elif isinstance(node, (ast.MatchOr, ast.MatchAs, ast.MatchValue)):
        for part in ast.iter_child_nodes(node):
            yield from _texts(part, names)
    elif isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.Name) and isinstance(names.get(node.id), str):
        yield names[node.id]


def _tree(module: ModuleType) -> ast.Module:
    return ast.parse(inspect.getsource(module))
