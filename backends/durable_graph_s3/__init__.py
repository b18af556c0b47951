"""Threads in a bucket of S3: `S3Saver`; and archived ones of any saver: `S3Archive`."""

from durable_graph.ports.drivers import check_driver

try:
    from durable_graph_s3.archive import S3Archive
    from durable_graph_s3.backend import S3Backend
    from durable_graph_s3.saver import S3Saver, open_saver
except ModuleNotFoundError:
    check_driver("aiobotocore", __name__)
    raise

__all__ = ["S3Archive", "S3Backend", "S3Saver", "open_saver"]
