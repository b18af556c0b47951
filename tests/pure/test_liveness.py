"""Whether the owner of a thread is alive, as far as can be seen from here."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace

import pytest

from durable_graph.decisions.liveness import (
    Identity,
    Liveness,
    Process,
    is_alive,
    process_runs,
    this_process,
)

HERE = Identity("this host", 100, 1)
BESIDE = Identity("this host", 200, 2)
ELSEWHERE = Identity("another host", 200, 2)
UNKNOWN = Identity(None, 200, None)


def alive(
    owner: str | None,
    identity: Identity,
    *,
    age: float = 1.0,
    here: Identity = HERE,
    mine: bool | None = None,
    runs: bool = True,
) -> bool:
    known = {"owner": Liveness(Process("owner", identity, lease=10.0), age)}
    return is_alive(owner, known, here=here, local=lambda _: mine, runs=lambda _: runs)


def test_nobody_is_not_alive() -> None:
    """A thread without an owner is owned by nobody."""
    assert not alive(None, BESIDE)


def test_an_owner_nobody_knows_is_dead() -> None:
    """Who never gave a sign of life, or said good-bye, cannot write."""
    assert not alive("stranger", BESIDE)


@pytest.mark.parametrize("identity", [HERE, BESIDE, ELSEWHERE, UNKNOWN])
@pytest.mark.parametrize("mine", [True, False])
def test_an_owner_in_this_process_is_known_at_first_hand(identity: Identity, mine: bool) -> None:
    """Of its own owners a process needs no signs of life."""
    assert alive("owner", identity, mine=mine, age=99.0, runs=False) is mine


@pytest.mark.parametrize("identity", [BESIDE, ELSEWHERE, UNKNOWN])
@pytest.mark.parametrize(("age", "is_"), [(0.0, True), (10.0, True), (10.1, False)])
def test_a_sign_of_life_is_good_for_a_lease(identity: Identity, age: float, is_: bool) -> None:
    """Wherever the owner is: once its lease is over it is dead."""
    assert alive("owner", identity, age=age) is is_


def test_a_dead_process_beside_us_is_seen_at_once() -> None:
    """On the same host nobody waits for the lease of a process that is gone."""
    assert not alive("owner", BESIDE, age=0.1, runs=False)


@pytest.mark.parametrize("identity", [ELSEWHERE, UNKNOWN])
def test_only_its_lease_tells_of_a_process_elsewhere(identity: Identity) -> None:
    """Another host's process ids say nothing here."""
    assert alive("owner", identity, runs=False)


def test_a_host_that_cannot_be_named_is_not_this_one() -> None:
    """Where hosts have no names, two processes without one are not on the same host."""
    assert alive("owner", UNKNOWN, here=replace(HERE, host=None), runs=False)


def test_a_forgotten_owner_in_this_very_process_is_dead() -> None:
    """It has this process's id, but this process does not know it: its loop is gone."""
    assert not alive("owner", HERE, runs=True)


def test_this_process_runs() -> None:
    """A process sees itself, and no other that had its id."""
    identity = this_process()
    assert identity.pid == os.getpid()
    assert process_runs(identity)
    assert identity.started is not None
    assert not process_runs(replace(identity, started=identity.started + 1))


def test_a_process_is_seen_until_it_has_ended() -> None:
    """A real process is there while it runs, and gone once it was killed, waited for or not."""
    code = "from durable_graph.decisions.liveness import this_process as t; i = t();"
    code += "print(i.host, i.pid, i.started, flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        host, pid, started = process.stdout.readline().split()
        identity = Identity(host, int(pid), int(started))
        assert identity.host == this_process().host
        assert process_runs(identity)
        process.kill()
        # The pipe ends when the process has; until it is waited for, it is a zombie.
        assert process.stdout.read() == ""
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert not process_runs(identity)
    assert not process_runs(identity)
