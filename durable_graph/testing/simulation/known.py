"""Faults of the engine that are known and not mended yet; what finds them looks away meanwhile.

Each has a test of its own that fails as long as the fault is there. Mending it takes away its
line here, and the look-away that asks for it.
"""

from __future__ import annotations

from typing import Final

__all__ = ["KNOWN"]

KNOWN: Final = {
    "edit as end": "aupdate_state(as_node=END) raises KeyError",
    "error groups": "a write that fails beside others raises an ExceptionGroup",
    "left unheard": "a run that was left and then fails is logged as never retrieved",
    "unclaimed": "an async run that ends while its claim is on its way is not let go of",
    "goto twice": "Command(resume=, goto=) makes a node due that is due already: two results clash",
    "input of another branch": "a branch keeps the digest of an input that it never took",
    "posted update": "Command(resume=, update=) that is left for the owner loses its update",
    "read beside removal": "reading a thread that is removed or pruned meanwhile finds it damaged",
    "answer behind a message": "a bare answer raises IndexError if a message has answered all",
    "closed at once": "a stream closed before its run's first step blocks its thread for ever",
    "late claim": "a claim given up as unknown that takes effect later is not let go of",
    "edit before the start": "an edit drops an input that was accepted and not taken in yet",
    "large questions": "a checkpoint of a large question that was answered is called damaged",
    "unannounced owner": "a first write that is lost is asked for again without the sign of life",
    "branch at exit": "durability 'exit' puts a branch behind the head, not at its checkpoint",
}
