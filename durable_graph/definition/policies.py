"""What a node may be given to go by when it fails or takes long, checked where it is given.

Otherwise a mistake would come to light only when the node fails, and in its error's place.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from durable_graph.definition.node import Function
from durable_graph.errors import GraphDefinitionError
from durable_graph.types import CachePolicy, RetryPolicy, TimeoutPolicy

__all__ = ["NodePolicies", "cache_of", "retries_of", "timeout_of"]


@dataclass(frozen=True, slots=True)
class NodePolicies:
    """What a node goes by; ``None`` where nothing was said.

    Attributes:
        retry: when it is tried again.
        timeout: how long one attempt may take.
        cache: when its result may be one that was kept.
        handler: what runs once it has failed for good.
    """

    retry: tuple[RetryPolicy, ...] | None = None
    timeout: TimeoutPolicy | None = None
    cache: CachePolicy | None = None
    handler: Function | None = None

    @classmethod
    def of(
        cls,
        who: str,
        *,
        retry_policy: Any = None,
        timeout: Any = None,
        cache_policy: Any = None,
        error_handler: Any = None,
    ) -> NodePolicies:
        """What was given, checked.

        Raises:
            GraphDefinitionError: something is of the wrong kind, or cannot work.
        """
        handler = f"The error handler of {who}"
        return cls(
            None if retry_policy is None else retries_of(retry_policy, who),
            None if timeout is None else timeout_of(timeout, who),
            None if cache_policy is None else cache_of(cache_policy, who),
            None if error_handler is None else Function.of(error_handler, handler, handles=True),
        )

    def over(self, defaults: NodePolicies) -> NodePolicies:
        """These, and the defaults where nothing was said."""
        return NodePolicies(
            defaults.retry if self.retry is None else self.retry,
            defaults.timeout if self.timeout is None else self.timeout,
            defaults.cache if self.cache is None else self.cache,
            defaults.handler if self.handler is None else self.handler,
        )


def retries_of(given: Any, who: str) -> tuple[RetryPolicy, ...]:
    """The retry policies that were given: one, or several in a list.

    Args:
        given: what a user gave.
        who: whose they are, for the error.

    Raises:
        GraphDefinitionError: something is no policy, or a policy that cannot work.
    """
    several = isinstance(given, (list, tuple)) and not isinstance(given, RetryPolicy)
    policies = tuple(given) if several else (given,)
    for policy in policies:
        wrong = _wrong_with(policy)
        if wrong is not None:
            raise GraphDefinitionError(f"The retry policy of {who} {wrong}.")
    return policies


def timeout_of(given: Any, who: str) -> TimeoutPolicy:
    """The timeout that was given.

    Args:
        given: what a user gave: a policy, a number of seconds, or a timedelta.
        who: whose it is, for the error.

    Raises:
        GraphDefinitionError: it is none of these, or no time above 0.
    """
    if not isinstance(given, (TimeoutPolicy, int, float, timedelta)) or isinstance(given, bool):
        raise GraphDefinitionError(
            f"The timeout of {who} is a number of seconds or a TimeoutPolicy, not {given!r}."
        )
    try:
        return TimeoutPolicy.of(given)
    except ValueError as error:
        raise GraphDefinitionError(f"The timeout of {who} cannot be: {error}") from None


def cache_of(given: Any, who: str) -> CachePolicy:
    """The cache policy that was given.

    Raises:
        GraphDefinitionError: it is none, or one that cannot work.
    """
    if not isinstance(given, CachePolicy):
        raise GraphDefinitionError(f"The cache policy of {who} is a CachePolicy, not {given!r}.")
    if given.key_func is not None and not callable(given.key_func):
        raise GraphDefinitionError(
            f"The key_func of {who} is a function of the node's input, not {given.key_func!r}."
        )
    if given.ttl is not None and (type(given.ttl) not in (int, float) or not given.ttl > 0):
        raise GraphDefinitionError(
            f"The ttl of {who} is a number of seconds above 0, not {given.ttl!r}."
        )
    if not isinstance(given.version, str):
        raise GraphDefinitionError(f"The version of {who} is a str, not {given.version!r}.")
    return given


def _wrong_with(policy: Any) -> str | None:
    if not isinstance(policy, RetryPolicy):
        return f"is to be a RetryPolicy, or a list of them, not {policy!r}"
    if not isinstance(policy.max_attempts, int) or policy.max_attempts < 1:
        return f"needs max_attempts of at least 1, not {policy.max_attempts!r}"
    for name in ("initial_interval", "backoff_factor", "max_interval"):
        number = getattr(policy, name)
        if not isinstance(number, (int, float)) or not number >= 0:
            return f"needs {name} of at least 0, not {number!r}"
    errors = policy.retry_on if isinstance(policy.retry_on, (list, tuple)) else (policy.retry_on,)
    several = errors is policy.retry_on
    for error in errors:
        if isinstance(error, type):
            if issubclass(error, BaseException):
                continue
        elif callable(error) and not several:
            continue
        return f"has {error!r} in retry_on; give classes of errors, or one function"
    return None
