"""Keys, audit log, sessions, limits and first answers in Redis."""

from jobqueue.broker.access.answers import RedisAnswers
from jobqueue.broker.access.audit import RedisAuditLog
from jobqueue.broker.access.keys import RedisApiKeys
from jobqueue.broker.access.limiter import RedisLimiter
from jobqueue.broker.access.sessions import RedisSessions

__all__ = ["RedisAnswers", "RedisApiKeys", "RedisAuditLog", "RedisLimiter", "RedisSessions"]
