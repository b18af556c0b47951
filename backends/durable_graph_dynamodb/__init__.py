"""Threads and items in a table of DynamoDB's: `DynamoDBSaver`, `DynamoDBStore`."""

from durable_graph_dynamodb.backend import DynamoDBBackend
from durable_graph_dynamodb.saver import DynamoDBSaver, open_saver
from durable_graph_dynamodb.store import DynamoDBStore, open_store

__all__ = ["DynamoDBBackend", "DynamoDBSaver", "DynamoDBStore", "open_saver", "open_store"]
