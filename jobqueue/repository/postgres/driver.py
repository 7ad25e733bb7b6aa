"""asyncpg is there, or the one line that says how to install it."""

from jobqueue.errors import require

require("asyncpg", "postgres")
