"""Threads in a table of DynamoDB's: `DynamoDBSaver`."""

from durable_graph_dynamodb.backend import DynamoDBBackend
from durable_graph_dynamodb.saver import DynamoDBSaver, open_saver

__all__ = ["DynamoDBBackend", "DynamoDBSaver", "open_saver"]
