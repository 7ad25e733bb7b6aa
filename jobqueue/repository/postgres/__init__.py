"""History, dead letters and schedules in Postgres, over asyncpg. Imported only where Postgres is configured."""

# First of all: without asyncpg, importing anything of this package says in one line how to install it.
from jobqueue.repository.postgres import driver as driver
from jobqueue.repository.postgres.api_keys import PostgresApiKeys
from jobqueue.repository.postgres.archive import PostgresArchive
from jobqueue.repository.postgres.audit import PostgresAuditLog
from jobqueue.repository.postgres.database import Database
from jobqueue.repository.postgres.dead_letters import PostgresDeadLetters
from jobqueue.repository.postgres.executions import PostgresExecutions
from jobqueue.repository.postgres.schedules import PostgresScheduleStore
from jobqueue.repository.postgres.ticks import PostgresTickRecords

__all__ = [
    "Database",
    "PostgresApiKeys",
    "PostgresArchive",
    "PostgresAuditLog",
    "PostgresDeadLetters",
    "PostgresExecutions",
    "PostgresScheduleStore",
    "PostgresTickRecords",
]
