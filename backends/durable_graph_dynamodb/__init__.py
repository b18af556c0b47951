"""Threads and items in a table of DynamoDB's: `DynamoDBSaver`, `DynamoDBStore`."""

from durable_graph.ports.drivers import check_driver

try:
    from durable_graph_dynamodb.backend import DynamoDBBackend
    from durable_graph_dynamodb.saver import DynamoDBSaver, open_saver
    from durable_graph_dynamodb.store import DynamoDBStore, open_store
except ModuleNotFoundError:
    check_driver("aiobotocore", __name__)
    raise

__all__ = ["DynamoDBBackend", "DynamoDBSaver", "DynamoDBStore", "open_saver", "open_store"]
