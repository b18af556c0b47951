"""How the survey's demo looks: a live display, tables and trees, and plain lines for a pipe."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any, Self

from rich.columns import Columns
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from durable_graph import StateSnapshot
from effect_log import Check
from python_facts import Facts

__all__ = ["Display", "branches", "check_table", "history_table", "reports"]


class Display(AbstractContextManager["Display"]):
    """The progress of a survey: live in a terminal, a line now and then elsewhere."""

    def __init__(self, console: Console, title: str) -> None:
        self._console = console
        self._progress = Progress(
            SpinnerColumn("line"),
            TextColumn("{task.description}"),
            BarColumn(40),
            MofNCompleteColumn(),
            console=console,
        )
        self._bar = self._progress.add_task(title, total=None)
        self._seen: Counter[str] = Counter()
        self._last = Text("nothing yet", style="dim")
        can_redraw = console.is_terminal and not console.is_dumb_terminal
        self._live = Live(self, console=console, refresh_per_second=20) if can_redraw else None
        self._total = self._done = 0

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def __rich__(self) -> RenderableType:
        sums = ", ".join(f"{count:,} {what}" for what, count in self._seen.items() if count)
        lines = Table.grid(padding=(0, 2))
        lines.add_row(Text("    last", style="dim"), self._last)
        lines.add_row(Text("    so far", style="dim"), Text(sums))
        return Group(self._progress, lines)

    def begin(self, total: int, facts: Iterable[Facts] = ()) -> None:
        """There are so many files, and these facts are known already."""
        self._total = total
        self._progress.update(self._bar, total=total)
        for one in facts:
            self._count(one)
        if self._live is None and self._done:
            self._console.print(f"  {self._done} of {total} files are stored already")

    def add(self, facts: Facts) -> None:
        """One more file is done."""
        self._count(facts)
        every = max(1, self._total // 8)
        if self._live is None and (self._done % every == 0 or self._done == self._total):
            self._console.print(f"  {self._done} of {self._total} files")

    def _count(self, facts: Facts) -> None:
        self._done += 1
        self._seen["lines"] += facts["lines"]
        self._seen["functions"] += len(facts["functions"])
        self._seen["TODOs"] += facts["todos"]
        self._seen["unreadable"] += facts["problem"] is not None
        self._last = Text(facts["file"], no_wrap=True, overflow="ellipsis")
        self._progress.update(self._bar, completed=self._done)


def check_table(checks: Iterable[Check]) -> Table:
    """What must hold, and whether it does."""
    table = Table.grid(padding=(0, 2))
    for check in checks:
        mark = Text("ok", style="green") if check.holds else Text("FAILED", style="bold red")
        table.add_row(mark, check.what, Text(check.seen, style="dim"))
    return table


def history_table(history: Iterable[StateSnapshot]) -> Table:
    """The checkpoints of a thread, newest first."""
    table = Table("step", "at", "checkpoint", "source", "new in the state", "next")
    snapshots = list(history)
    for snapshot in snapshots:
        metadata = snapshot.metadata or {}
        table.add_row(
            str(metadata["step"]),
            (snapshot.created_at or "")[11:23],
            _short(snapshot),
            metadata["source"],
            Text(_news(snapshot, snapshots)),
            Text(_next(snapshot)),
        )
    return table


def branches(
    trunk: Sequence[StateSnapshot], grown: Sequence[tuple[str, Sequence[StateSnapshot]]]
) -> Tree:
    """A trunk of checkpoints, and the branches from its last, each oldest first."""
    known = [*trunk, *(snapshot for _, snapshots in grown for snapshot in snapshots)]
    tree = Tree("[bold]the thread")
    node = tree
    for snapshot in trunk:
        node = tree.add(_line(snapshot, known, 34))
    for name, snapshots in grown:
        branch = node.add(Text(name, style="bold"))
        for snapshot in snapshots:
            branch.add(_line(snapshot, known, 26))  # two levels further in
    return tree


def reports(console: Console, texts: Iterable[tuple[str, str]], most: int = 9) -> RenderableType:
    """Reports, side by side where there is room; the first lines of each."""
    shown = list(texts)
    width = max(38, (console.width - 1) // len(shown) - 1)
    return Columns(
        Panel(
            Text("\n".join(text.splitlines()[:most]), no_wrap=True, overflow="ellipsis"),
            title=Text(title),
            width=min(width, console.width),
        )
        for title, text in shown
    )


def _line(snapshot: StateSnapshot, known: Iterable[StateSnapshot], width: int) -> Text:
    news = _news(snapshot, known)
    return Text.assemble(
        (_short(snapshot), "cyan"),
        f"  {(snapshot.metadata or {})['source']:<6}  {news:<{width if snapshot.next else 0}}",
        (f"  then {_next(snapshot)}" if snapshot.next else "", "dim"),
    )


def _short(snapshot: StateSnapshot) -> str:
    return (snapshot.checkpoint_id or "")[-8:]


def _next(snapshot: StateSnapshot) -> str:
    counts = Counter(snapshot.next)
    return ", ".join(f"{count} x {node}" if count > 1 else node for node, count in counts.items())


def _news(snapshot: StateSnapshot, known: Iterable[StateSnapshot]) -> str:
    """What has changed since the checkpoint before."""
    parent = (snapshot.parent_config or {}).get("configurable", {}).get("checkpoint_id")
    before: dict[str, Any] = next((s.values for s in known if s.checkpoint_id == parent), {})
    return ", ".join(
        f"{len(value)} {key}" if key in ("files", "facts") else key
        for key, value in snapshot.values.items()
        if value and value != before.get(key)
    )
