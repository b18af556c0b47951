"""Encryption at rest: what a saver or a store keeps is readable only with its keys.

::

    keys = LocalKeys.from_env("AGENT_KEYS")
    saver = SqliteSaver("threads.db", encryption=Encryption(keys))

Encrypted are the bodies of records (states, results, steps, questions and answers), large values,
what waits in inboxes, and the values of stores. Readable stay names and ids (of threads, runs,
checkpoints, nodes, namespaces and keys), who did something and when, sizes, how a thread stands,
the metadata of configs, and the cards of threads with their tags and metadata.

Needs the package cryptography: ``pip install 'durable-graph[encryption]'``.
"""

from durable_graph.encryption.encryption import Encryption
from durable_graph.encryption.keys import KeyProvider, LocalKeys

__all__ = ["Encryption", "KeyProvider", "LocalKeys"]
