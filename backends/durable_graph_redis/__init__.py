"""Threads in Redis: `RedisSaver`. Core commands and Lua only, no modules; what is stored how is
in SCHEMA.md beside this file."""

from durable_graph_redis.backend import RedisBackend
from durable_graph_redis.saver import RedisSaver, open_saver

__all__ = ["RedisBackend", "RedisSaver", "open_saver"]
