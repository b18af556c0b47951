"""Whether the owner of a thread is alive."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

__all__ = ["Identity", "Liveness", "Process", "is_alive", "process_runs", "this_process"]

_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")
_PID_NAMESPACE: Final = Path("/proc/self/ns/pid")


@dataclass(frozen=True, slots=True)
class Identity:
    """Where a process runs, well enough to see from beside it that it is gone.

    Attributes:
        host: names the kernel and its PID namespace; ``None`` where that cannot be found out.
        pid: its process id there.
        started: when it started, in the kernel's own unit, so that a reused id is told apart.
    """

    host: str | None
    pid: int
    started: int | None


@dataclass(frozen=True, slots=True)
class Process:
    """One that may own threads: an event loop in a process, for one saver.

    Attributes:
        id: random and never used again.
        identity: where it runs.
        lease: seconds for which a sign of life is good.
    """

    id: str
    identity: Identity
    lease: float


@dataclass(frozen=True, slots=True)
class Liveness:
    """What a backend knows of a process.

    Attributes:
        process: which one.
        age: seconds since its last sign of life, by the backend's clock.
    """

    process: Process
    age: float


def this_process() -> Identity:
    """Where this process runs."""
    pid = os.getpid()
    try:
        host = f"{_BOOT_ID.read_text().strip()}/{_PID_NAMESPACE.readlink()}"
    except OSError:  # no /proc: then only leases tell who is alive
        return Identity(None, pid, None)
    return Identity(host, pid, _start_time(pid))


def process_runs(identity: Identity) -> bool:
    """Whether a process of this host is still there."""
    started = _start_time(identity.pid)
    return started is not None and started == identity.started


def is_alive(
    owner: str | None,
    known: Mapping[str, Liveness],
    *,
    here: Identity,
    local: Callable[[str], bool | None],
    runs: Callable[[Identity], bool] = process_runs,
) -> bool:
    """Whether an owner may still write.

    Being wrong is safe either way, since every append is fenced; it costs a wait, or a run.

    Args:
        owner: the process that owns the thread.
        known: the processes the backend knows, by id.
        here: where the caller runs.
        local: whether an owner in the caller's own process is alive; ``None`` for others.
        runs: whether a process of the caller's host is still there.
    """
    if owner is None:
        return False
    mine = local(owner)
    if mine is not None:
        return mine
    entry = known.get(owner)
    if entry is None or entry.age > entry.process.lease:
        return False
    identity = entry.process.identity
    if identity.host is None or identity.host != here.host:
        return True  # only its lease can tell
    # In this very process, but `local` does not know it: a loop that is gone, or forked away.
    return identity.pid != here.pid and runs(identity)


def _start_time(pid: int) -> int | None:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    # The command, in parentheses, may hold spaces and parentheses itself; after it, the start
    # time is the 20th field (field 22 of proc(5)); a zombie has exited.
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else int(fields[19])
