"""A private Valkey (or Redis) and Postgres for development and tests, from wheels: nothing to install or clean up.

The servers listen on free loopback ports and end with the process that started them, even when it is
killed with -9. Linux and macOS; needs the extra `embedded`.
"""

from jobqueue.embedded.both import Servers, embedded_servers, start_servers
from jobqueue.embedded.postgres import PostgresServer, start_postgres
from jobqueue.embedded.redis import RedisBinary, RedisServer, find_redis_server, start_redis
from jobqueue.embedded.supervisor import EmbeddedServerError

__all__ = [
    "EmbeddedServerError",
    "PostgresServer",
    "RedisBinary",
    "RedisServer",
    "Servers",
    "embedded_servers",
    "find_redis_server",
    "start_postgres",
    "start_redis",
    "start_servers",
]
