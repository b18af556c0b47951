"""What is common to the systems that a server on this machine only imitates."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any, Final

from tests.services import aws

__all__ = ["STEPS", "about", "client"]

STEPS: Final = (100, 4)


def about() -> str:
    """What is measured instead of the real one."""
    aws.endpoint()  # starts it
    return (
        f"moto {version('moto')}, an imitation in Python that stores nothing durably: the ratio "
        "to the bare loop says something, the rates say nothing about AWS"
    )


def client(service: str) -> Any:
    """A client of the driver, to be entered."""
    from aiobotocore.config import AioConfig

    return aws.session().create_client(
        service,
        endpoint_url=aws.endpoint(),
        region_name=aws.REGION,
        aws_access_key_id=aws.CREDENTIALS["access_key_id"],
        aws_secret_access_key=aws.CREDENTIALS["secret_access_key"],
        config=AioConfig(max_pool_connections=50),
    )
