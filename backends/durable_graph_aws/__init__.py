"""What the backends on AWS share: how a service is reached, and what its errors mean."""

from durable_graph_aws.errors import NothingDoneError, code_of
from durable_graph_aws.options import AwsOptions, options_of
from durable_graph_aws.service import Service, first_told, together

__all__ = [
    "AwsOptions",
    "NothingDoneError",
    "Service",
    "code_of",
    "first_told",
    "options_of",
    "together",
]
