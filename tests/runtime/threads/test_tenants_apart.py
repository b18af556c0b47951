"""Tenants against a model of them: whatever three of them do under ids that nearly collide, each
has what it would have alone, and what belongs to others answers like what nobody has."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Awaitable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from durable_graph import Command, InMemorySaver, interrupt
from durable_graph.errors import (
    CheckpointNotFoundError,
    ConfigError,
    DurableGraphError,
    EmptyInputError,
    NothingToResumeError,
    ThreadExistsError,
    ThreadNotFoundError,
)
from durable_graph.log.records import ThreadKey
from durable_graph.saver import Saver
from durable_graph.threads import Retention
from durable_graph_sqlite import SqliteSaver
from tests.conftest import thread as named
from tests.runtime.kit import Items, chain, collect, history, says

TORTURE = "DURABLE_GRAPH_TORTURE" in os.environ

# However they are put together, with whatever between them, some of them are the same text; others
# are the same to the eye, to a database that folds case, or to one that trims.
TENANTS = ["a", "a:b", "A"]
NAMES = ["c", "b:c", "C", "c.", "c ", "\u00e9", "e\u0301"]


async def ask(state: Items) -> Items:
    return {"items": [interrupt("?")]}


@dataclass
class Known:
    """What the model knows of a thread."""

    items: list[str] | None = None
    tags: set[str] = field(default_factory=set)
    owner: str | None = None
    checkpoints: list[str] = field(default_factory=list)

    @property
    def asks(self) -> bool:
        return self.items is not None and self.items[-1] == "a"

    @property
    def status(self) -> str:
        return "new" if self.items is None else "asking" if self.asks else "finished"


tenants, names = st.sampled_from(TENANTS), st.sampled_from(NAMES)


class Machine(RuleBasedStateMachine):
    """Three tenants' handles on one saver, and what each of them should see."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.folder = tempfile.TemporaryDirectory()
        self.saver = self.open(Path(self.folder.name))
        self.handles = {tenant: self.saver.for_tenant(tenant) for tenant in TENANTS}
        self.graphs = {
            tenant: chain(("a", says("a")), ("ask", ask), saver=handle)
            for tenant, handle in self.handles.items()
        }
        self.model: dict[str, dict[str, Known]] = {tenant: {} for tenant in TENANTS}

    def open(self, folder: Path) -> Saver:
        """A saver on storage of its own."""
        return InMemorySaver()

    def teardown(self) -> None:
        self.run(self.saver.aclose())
        self.runner.close()
        self.folder.cleanup()

    def run(self, call: Awaitable[Any]) -> Any:
        """Make a call; what it refuses is its answer."""

        async def made() -> Any:
            try:
                return await call
            except DurableGraphError as error:
                return type(error)

        return self.runner.run(made())

    async def noted(self, tenant: str, name: str) -> None:
        """The checkpoints that a thread has by now, for others to ask for."""
        past = await history(self.graphs[tenant], named(name))
        self.model[tenant][name].checkpoints = [s.checkpoint_id or "" for s in past]

    @rule(tenant=tenants, name=names, word=st.sampled_from("xyz"))
    def an_input(self, tenant: str, name: str, word: str) -> None:
        """Begin a thread, or go on with it."""
        graph, mine = self.graphs[tenant], self.model[tenant].setdefault(name, Known())
        given = {"items": [word]}
        self.run(graph.ainvoke(given, named(name), on_pending="supersede", by=tenant))
        before = mine.items or []
        if not (before and mine.asks and before[-2] == word):  # which only asks again
            mine.items = [*before, word, "a"]
        self.run(self.noted(tenant, name))

    @rule(tenant=tenants, name=names)
    def an_answer(self, tenant: str, name: str) -> None:
        """Answer what a thread asks, if it asks."""
        graph, mine = self.graphs[tenant], self.model[tenant].get(name)
        found = self.run(graph.ainvoke(Command(resume=f"by {tenant}"), named(name), by=tenant))
        if mine is not None and mine.items is not None and mine.asks:
            mine.items.append(f"by {tenant}")
            assert found["items"] == mine.items
            self.run(self.noted(tenant, name))
        else:
            assert found is NothingToResumeError

    @rule(tenant=tenants, name=names)
    def an_edit(self, tenant: str, name: str) -> None:
        """Write to a thread that asks nothing."""
        graph, mine = self.graphs[tenant], self.model[tenant].get(name)
        if mine is not None and mine.items is not None and not mine.asks:
            edit = graph.aupdate_state(named(name), {"items": ["edit"]}, as_node="ask", by=tenant)
            self.run(edit)
            mine.items.append("edit")
            self.run(self.noted(tenant, name))

    @rule(tenant=tenants, name=names)
    def nothing(self, tenant: str, name: str) -> None:
        """Go on with a thread without an input."""
        mine = self.model[tenant].get(name)
        found = self.run(self.graphs[tenant].ainvoke(None, named(name)))
        if mine is None or mine.items is None:
            assert found is EmptyInputError
        else:
            assert found["items"] == mine.items

    @rule(tenant=tenants, name=names)
    def a_creation(self, tenant: str, name: str) -> None:
        """Create a thread, where there is none."""
        found = self.run(self.handles[tenant].threads.create(name, owner=tenant, by=tenant))
        if name in self.model[tenant]:
            assert found is ThreadExistsError
        else:
            self.model[tenant][name] = Known(owner=tenant)

    @rule(tenant=tenants, name=names)
    def a_tag(self, tenant: str, name: str) -> None:
        """Label a thread, where there is one."""
        found = self.run(self.handles[tenant].threads.tag(name, tenant, by=tenant))
        if (mine := self.model[tenant].get(name)) is None:
            assert found is ThreadNotFoundError
        else:
            mine.tags.add(tenant)

    @rule(tenant=tenants, name=names, traced=st.booleans())
    def a_deletion(self, tenant: str, name: str, traced: bool) -> None:
        """Delete a thread, whether or not there is one."""
        by = tenant if traced else None
        assert self.run(self.handles[tenant].threads.delete(name, by=by)) is None
        self.model[tenant].pop(name, None)

    @rule(tenant=tenants, name=names, goal=names)
    def a_copy(self, tenant: str, name: str, goal: str) -> None:
        """Copy a thread under a name that is free."""
        mine = self.model[tenant].get(name)
        found = self.run(self.handles[tenant].threads.copy(name, goal))
        if mine is None or mine.items is None:
            assert found is ThreadNotFoundError
        elif goal in self.model[tenant]:
            assert found is ThreadExistsError
        else:
            self._twin(mine, tenant, goal)

    @rule(tenant=tenants, name=names, to=tenants, goal=names)
    def a_move(self, tenant: str, name: str, to: str, goal: str) -> None:
        """Take a thread to another tenant, who gets a file and no more."""
        mine = self.model[tenant].get(name)
        data = self.run(self.handles[tenant].threads.export(name))
        if mine is None or mine.items is None:
            assert data is ThreadNotFoundError
            return
        found = self.run(self.handles[to].threads.import_(data, goal))
        if goal in self.model[to]:
            assert found is ThreadExistsError
        else:
            self._twin(mine, to, goal)

    def _twin(self, mine: Known, tenant: str, name: str) -> None:
        items, tags = list(mine.items or ()), set(mine.tags)
        self.model[tenant][name] = Known(items, tags, mine.owner, list(mine.checkpoints))

    @rule(tenant=tenants, name=names)
    def a_look_at_one(self, tenant: str, name: str) -> None:
        """All that can be asked of a thread by its name."""
        handle, mine = self.handles[tenant], self.model[tenant].get(name)
        info = self.run(handle.threads.get(name))
        wrong = self.run(handle.threads.verify(name))
        freed = self.run(handle.threads.prune(name, Retention(keep_last=9999)))
        told = self.run(collect(handle.audit(name)))
        assert freed is False
        if mine is None:
            assert info is ThreadNotFoundError
            assert wrong is ThreadNotFoundError
        else:
            assert (info.status, info.owner, set(info.tags)) == (mine.status, mine.owner, mine.tags)
            assert wrong == ([] if mine.items is not None else ThreadNotFoundError)
        if mine is not None and mine.items is not None:
            assert sum(entry.what == "input" for entry in told) == mine.items.count("a")

    @rule(tenant=tenants, other=tenants, name=names, data=st.data())
    def a_foreign_checkpoint(self, tenant: str, other: str, name: str, data: Any) -> None:
        """Ask for a checkpoint of somebody else's: it is in no thread of one's own, unless the
        thread was moved there."""
        theirs = [c for known in self.model[other].values() for c in known.checkpoints]
        if not theirs:
            return
        checkpoint = data.draw(st.sampled_from(theirs))
        mine = self.model[tenant].get(name)
        known = mine is not None and checkpoint in mine.checkpoints
        graph, place = self.graphs[tenant], named(name, checkpoint)
        state = self.run(graph.aget_state(place))
        assert (state is CheckpointNotFoundError) == (not known)
        if not known:
            edit = graph.aupdate_state(place, {"items": ["stolen"]}, as_node="a")
            assert self.run(edit) is CheckpointNotFoundError
            assert self.run(graph.ainvoke(None, place)) is CheckpointNotFoundError

    @rule(tenant=tenants, other=tenants)
    def a_handle_for_another(self, tenant: str, other: str) -> None:
        """A handle leads to nobody else."""
        with pytest.raises(ConfigError):
            self.handles[tenant].for_tenant(other)

    @invariant()
    def everybody_has_what_they_have(self) -> None:
        """Lists, filters and states are those of the model, and those of no tenant are empty."""
        assert self.run(collect(self.saver.threads.list())) == []
        for tenant, handle in self.handles.items():
            mine = self.model[tenant]
            found = self.run(collect(handle.threads.list()))
            assert {info.thread_id: info.status for info in found} == {
                name: known.status for name, known in mine.items()
            }
            for other in TENANTS:
                tagged = self.run(collect(handle.threads.list(tags=[other])))
                assert {info.thread_id for info in tagged} == {
                    name for name, known in mine.items() if other in known.tags
                }
            for name in NAMES:
                state = self.run(self.graphs[tenant].aget_state(named(name)))
                known = mine.get(name)
                wanted = known.items if known is not None else None
                assert state.values.get("items", None) == wanted


class OnSqlite(Machine):
    """The same in a file."""

    def open(self, folder: Path) -> Saver:
        return SqliteSaver(folder / "threads.db", synchronous="normal")


RUNS = settings(
    max_examples=400 if TORTURE else 25,
    stateful_step_count=30,
    deadline=None,
    derandomize=not TORTURE,
    database=None,
    print_blob=False,
    # Making a failure smaller takes minutes; the steps that are printed say enough.
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


@pytest.mark.timeout(3600 if TORTURE else 120)
@pytest.mark.parametrize(("machine", "share"), [(Machine, 1), (OnSqlite, 3)])
def test_tenants_are_apart(machine: type[Machine], share: int) -> None:
    """Each tenant sees what it would see alone."""
    run_state_machine_as_test(
        machine, settings=settings(RUNS, max_examples=RUNS.max_examples // share)
    )


@pytest.mark.parametrize("key", [lambda t, n: ("", n), lambda t, n: ("", f"{t}:{n}")])
def test_a_leak_is_found(key: Any) -> None:
    """Keys without the tenant, or of both in one text, are not the model's."""

    class Leaking(Machine):
        def __init__(self) -> None:
            super().__init__()
            for tenant, handle in self.handles.items():
                leak = {"key": lambda self, name, t=tenant: ThreadKey(*key(t, name)), "tenant": ""}
                handle.__class__ = type("Leaking", (InMemorySaver,), leak)
                handle.__dict__["tenant"] = ""

    with pytest.raises(AssertionError):
        run_state_machine_as_test(Leaking, settings=RUNS)
