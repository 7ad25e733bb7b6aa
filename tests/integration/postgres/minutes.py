"""Whether the counts by the minute say what the rows say."""

from typing import Any

import asyncpg

_DIFFERENCES = """
WITH counted AS (
    SELECT date_trunc('minute', finished_at, 'UTC') AS minute, namespace, queue, outcome, failed,
           CASE outcome WHEN 'completed' THEN jobqueue.duration_class(duration_ms) ELSE 0 END AS took,
           count(*) AS executions
    FROM jobqueue.executions
    GROUP BY 1, 2, 3, 4, 5, 6
)
SELECT *
FROM counted
FULL JOIN jobqueue.execution_minutes AS minutes USING (minute, namespace, queue, outcome, failed, took)
WHERE counted.executions IS DISTINCT FROM minutes.executions
"""


async def differences(sql: asyncpg.Connection) -> list[Any]:
    """Each minute that is not the count of its rows; none, when all is well."""
    return [dict(row) for row in await sql.fetch(_DIFFERENCES)]
