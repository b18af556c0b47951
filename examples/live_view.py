"""A terminal that shows a run as it goes: every stream mode at once, each where it belongs."""

import asyncio
import operator
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, TypedDict, get_args

from rich.columns import Columns
from rich.console import Group
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table

from durable_graph import START, InMemorySaver, Runtime, StateGraph
from durable_graph.types import RunnableConfig, StreamMode

MODES: tuple[StreamMode, ...] = get_args(StreamMode)
SOURCES = {"encyclopedia": 9, "newspaper": 14, "diary": 20}


class Report(TypedDict, total=False):
    topic: str
    notes: Annotated[list[str], operator.add]
    text: str


def source(name: str, pages: int) -> Callable[[Report, Runtime], Awaitable[Report]]:
    async def read(report: Report, runtime: Runtime) -> Report:
        for page in range(1, pages + 1):
            await asyncio.sleep(0.03)
            runtime.stream_writer({"source": name, "read": page / pages})
        return {"notes": [f"{name} has {pages} pages on {report['topic']}"]}

    return read


async def write(report: Report, runtime: Runtime) -> Report:
    text = f"On {report['topic']}: " + "; ".join(report["notes"]) + "."
    for word in text.split():
        await asyncio.sleep(0.02)
        runtime.emit_message(word + " ")
    return {"text": text}


builder = StateGraph(Report).add_node(write)
for name, pages in SOURCES.items():
    builder.add_node(name, source(name, pages)).add_edge(START, name)
builder.add_edge([*SOURCES], "write")
graph = builder.compile(InMemorySaver())


class View:
    """What has been seen so far, and how it is drawn."""

    def __init__(self) -> None:
        self.tasks: dict[str, list[str]] = {}
        self.read: dict[str, float] = {}
        self.text = ""
        self.seen: dict[str, int] = dict.fromkeys(MODES, 0)

    def see(self, mode: StreamMode, event: Any) -> None:
        self.seen[mode] += 1
        match mode, event:
            case "tasks", {"result": _, "id": id}:
                self.tasks[id][1] = "[green]done"
            case "tasks", {"name": name, "id": id}:
                self.tasks[id] = [name, "[yellow]running"]
            case "custom", {"source": name, "read": share}:
                self.read[name] = share
            case "messages", (chunk, _):
                self.text += chunk.content

    def __rich__(self) -> Group:
        tasks = Table("task", "", "read")
        for name, state in self.tasks.values():
            share = self.read.get(name)
            tasks.add_row(name, state, "" if share is None else ProgressBar(1, share, 20))
        counts = Table("mode", "events")
        for mode, count in self.seen.items():
            counts.add_row(mode, str(count))
        return Group(Columns([tasks, counts]), Panel(self.text or "...", title="report", width=76))


async def main() -> None:
    config: RunnableConfig = {"configurable": {"thread_id": "1"}}
    view = View()
    with Live(view, refresh_per_second=20):
        async for mode, event in graph.astream({"topic": "logs"}, config, stream_mode=MODES):
            view.see(mode, event)


asyncio.run(main())
