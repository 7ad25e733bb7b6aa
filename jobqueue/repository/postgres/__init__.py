"""History and dead letters in Postgres, over asyncpg. Imported only where Postgres is configured."""

# First of all: without asyncpg, importing anything of this package says in one line how to install it.
from jobqueue.repository.postgres import driver as driver
