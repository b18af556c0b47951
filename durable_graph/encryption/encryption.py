"""How what is stored is encrypted: what users give to savers and stores."""

from __future__ import annotations

from durable_graph.encryption.backend import EncryptedBackend, EncryptedTransactions
from durable_graph.encryption.envelope import cipher
from durable_graph.encryption.items import EncryptedItems
from durable_graph.encryption.keys import KeyProvider
from durable_graph.errors import ConfigError
from durable_graph.ports.backend import Backend
from durable_graph.ports.items import Items

__all__ = ["Encryption"]


class Encryption:
    """Encrypts what a saver or a store keeps: ``SqliteSaver(path, encryption=Encryption(keys))``.

    Every thread has a key of its own, made of a secret that its head holds as the provider has
    wrapped it. So the provider is asked once for each thread that a process comes to use, and
    deleting a thread deletes what could open it. What is encrypted is bound to tenant, thread and
    record: where it is put elsewhere, or altered, it is refused.

    Args:
        key_provider: has the keys; `LocalKeys`, or a key management service.
        required: refuse what is stored in the clear (default). ``False`` reads it, too, to go over
            to encryption: whatever is written then is encrypted. What was begun in the clear has
            its secret in older copies of the database; who has one of those can read on.
        cached_keys: keys of how many threads to keep at hand.

    Raises:
        MissingExtraError: the package cryptography is not installed.
        ConfigError: an argument is of the wrong kind.
    """

    def __init__(
        self, key_provider: KeyProvider, *, required: bool = True, cached_keys: int = 10_000
    ) -> None:
        cipher()  # a missing package is told now and not in the middle of a run
        if not all(callable(getattr(key_provider, name, None)) for name in ("wrap", "unwrap")):
            raise ConfigError(
                f"The key provider is one such as LocalKeys({{'2026': key}}), not a "
                f"{type(key_provider).__name__}."
            )
        if type(cached_keys) is not int or cached_keys < 1:
            raise ConfigError(f"cached_keys is how many, at least 1, not {cached_keys!r}.")
        self.key_provider = key_provider
        self.required = required
        self._cached_keys = cached_keys

    def __repr__(self) -> str:
        return f"<Encryption with {self.key_provider!r}, required={self.required}>"

    def over_items(self, items: Items) -> EncryptedItems:
        """Storage of items that keeps values encrypted in another one."""
        return EncryptedItems(
            items, self.key_provider, required=self.required, cached_keys=self._cached_keys
        )

    def over(self, backend: Backend) -> EncryptedBackend:
        """A backend that keeps everything encrypted in another one."""
        kind = EncryptedTransactions if backend.capabilities.transactions else EncryptedBackend
        return kind(
            backend, self.key_provider, required=self.required, cached_keys=self._cached_keys
        )
