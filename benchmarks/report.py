"""Results for people, and for programs."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import sqlite3
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from benchmarks.files import flush_time
from benchmarks.measure import BARE, OURS, PEER, Metric, Ratio, Results, Scenario

__all__ = ["as_json", "environment", "show"]

_PACKAGES = (
    "durable-graph",
    "langgraph",
    "langgraph-checkpoint-sqlite",
    "langgraph-checkpoint-postgres",
    "langgraph-checkpoint-redis",
    "orjson",
    "aiosqlite",
    "asyncpg",
    "psycopg",
    "redis",
    "aiobotocore",
)


def environment(folder: Path | None = None) -> Mapping[str, Any]:
    """Where this is measured; `folder` is where databases are made."""
    return {
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "machine": platform.machine(),
        "cpus": os.cpu_count(),
        "load": os.getloadavg()[0],
        "flush_ms": flush_time(folder) * 1e3,
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "packages": {name: version for name in _PACKAGES if (version := _version(name))},
    }


def show(console: Console, scenario: Scenario, results: Sequence[Results]) -> None:
    """Print a scenario's table."""
    bare = any(BARE in result.case.lanes for result in results)
    promised = any(m.floor or m.share for result in results for m in result.case.metrics)
    table = Table(box=SIMPLE_HEAD, pad_edge=False, title_justify="left")
    table.add_column("", style="bold", overflow="fold")
    table.add_column("", overflow="fold")
    for name in (OURS, PEER, "better by", *((BARE, "of the bare") if bare else ())):
        table.add_column(name, justify="right")
    if promised:
        table.add_column("promised", justify="right")
    for result in results:
        if table.row_count:
            table.add_section()
        shown = [metric for metric in result.case.metrics if metric.shown]
        for number, metric in enumerate(shown):
            cells = [
                Text(result.case.name if number == 0 else ""),
                Text(metric.unit, style="dim"),
                Text(_number(result.median(OURS, metric)), style="bold"),
                Text(_number(result.median(PEER, metric))),
                _times(result.ratio(metric, OURS, PEER)),
            ]
            if bare:
                cells += [
                    Text(_number(result.median(BARE, metric))),
                    _percent(result.ratio(metric, OURS, BARE)),
                ]
            if promised:
                cells.append(_promise(result, metric))
            table.add_row(*cells)
    first, _, rest = scenario.promise.partition("\n")
    notes = [note for result in results for note in result.case.notes()]
    console.print(
        Group(
            Text.assemble((f"{scenario.name}: ", "bold cyan"), (first, "bold")),
            Text(textwrap.dedent(rest).strip(), style="dim"),
            Padding(table, (1, 0, 0, 0)),
            *(Text(note, style="dim") for note in notes),
            "",
        )
    )


def as_json(
    measured: Iterable[tuple[Scenario, Sequence[Results]]],
    settings: Mapping[str, Any],
    place: Mapping[str, Any],
) -> dict[str, Any]:
    """Everything, as data; `place` is what `environment` returned."""
    return {
        "environment": place,
        "settings": settings,
        "scenarios": {
            scenario.name: {
                "promise": scenario.promise,
                "cases": [_case(result) for result in results],
            }
            for scenario, results in measured
        },
    }


def _case(result: Results) -> dict[str, Any]:
    metrics = {}
    for metric in result.case.metrics:
        systems = {
            system: {"median": result.median(system, metric), "values": values[metric.name]}
            for system, values in result.values.items()
            if metric.name in values
        }
        metrics[metric.name] = {
            "unit": metric.unit,
            "better": metric.better,
            "floor": metric.floor,
            "share_of_bare": metric.share,
            "systems": systems,
            "better_than_peer": _ratio(result.ratio(metric, OURS, PEER)),
            "of_bare": _ratio(result.ratio(metric, OURS, BARE)),
        }
    return {"case": result.case.name, "metrics": metrics, "notes": list(result.case.notes())}


def _ratio(ratio: Ratio | None) -> dict[str, float] | None:
    if ratio is None:
        return None
    return {"median": ratio.median, "least": ratio.least, "most": ratio.most}


def _number(value: float | None) -> str:
    if value is None:
        return ""
    if value >= 1000:
        return f"{value:,.0f}"
    if value == int(value):
        return f"{value:.0f}"
    return f"{value:.3g}" if value < 100 else f"{value:.0f}"


def _times(ratio: Ratio | None) -> Text:
    if ratio is None:
        return Text("")
    text = Text(f"{_number(ratio.median)}x", style="green" if ratio.median >= 1 else "red")
    if ratio.least != ratio.most:
        text.append(f" {_number(ratio.least)}-{_number(ratio.most)}", style="dim")
    return text


def _percent(ratio: Ratio | None) -> Text:
    if ratio is None:
        return Text("")
    text = Text(f"{ratio.median:.0%}")
    if ratio.least != ratio.most:
        text.append(f" {ratio.least:.0%}-{ratio.most:.0%}", style="dim")
    return text


def _promise(result: Results, metric: Metric) -> Text:
    value = result.median(OURS, metric)
    if metric.floor is not None and value is not None:
        met = value >= metric.floor if metric.better == "more" else value <= metric.floor
        sign = "≥" if metric.better == "more" else "≤"
        return _verdict(f"{sign} {_number(metric.floor)}", met=met)
    share = result.ratio(metric, OURS, BARE)
    if metric.share is not None and share is not None:
        return _verdict(f"≥ {metric.share:.0%}", met=share.median >= metric.share)
    return Text("")


def _verdict(text: str, *, met: bool) -> Text:
    return Text(f"{text} {'✓' if met else '✗'}", style="green" if met else "bold red")


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
