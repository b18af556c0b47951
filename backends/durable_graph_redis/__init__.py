"""Threads in Redis: `RedisSaver`; and what outlives them: `RedisStore`.

Core commands and Lua only, no modules; what is stored how is in SCHEMA.md beside this file.
"""

from durable_graph_redis.backend import RedisBackend
from durable_graph_redis.saver import RedisSaver, open_saver
from durable_graph_redis.store import RedisStore, open_store

__all__ = ["RedisBackend", "RedisSaver", "RedisStore", "open_saver", "open_store"]
