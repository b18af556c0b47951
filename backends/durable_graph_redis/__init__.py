"""Threads in Redis: `RedisSaver`; what outlives them: `RedisStore`; results of nodes: `RedisCache`.

Core commands and Lua only, no modules; what is stored how is in SCHEMA.md beside this file.
"""

from durable_graph.ports.drivers import check_driver

try:
    from durable_graph_redis.backend import RedisBackend
    from durable_graph_redis.cache import RedisCache
    from durable_graph_redis.saver import RedisSaver, open_saver
    from durable_graph_redis.store import RedisStore, open_store
except ModuleNotFoundError:
    check_driver("redis", __name__)
    raise

__all__ = ["RedisBackend", "RedisCache", "RedisSaver", "RedisStore", "open_saver", "open_store"]
