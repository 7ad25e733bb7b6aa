"""Every version that a schedule ever had, as Postgres committed it: seen by a trigger, not told by the product."""

from dataclasses import dataclass
from typing import Any

import asyncpg
import msgspec

_WATCH = """
    CREATE TABLE public.chaos_editions (
        number bigint GENERATED ALWAYS AS IDENTITY, namespace text, name text, version integer, state text,
        since_ms bigint, definition text
    );
    CREATE FUNCTION public.chaos_edition() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO public.chaos_editions (namespace, name, version, state, since_ms, definition)
        VALUES (NEW.namespace, NEW.name, NEW.version, NEW.state, NEW.since_ms, NEW.definition::text);
        RETURN NEW;
    END $$;
    CREATE TRIGGER chaos_edition AFTER INSERT OR UPDATE ON jobqueue.schedules
        FOR EACH ROW EXECUTE FUNCTION public.chaos_edition();
"""


@dataclass(slots=True, frozen=True, kw_only=True)
class Edition:
    """A version of a schedule, as it was committed. Its ticks are those after *since_ms*."""

    name: str
    version: int
    state: str
    since_ms: int
    expression: str
    misfire: str
    overlap: str
    queue: str
    mark: str


async def watch_editions(database_url: str) -> None:
    """Let Postgres keep every version from now on."""
    connection = await asyncpg.connect(database_url, timeout=10)
    try:
        await connection.execute(_WATCH)
    finally:
        await connection.close()


async def read_editions(connection: Any, namespace: str) -> list[Edition]:
    """In the order of their commits; none where nobody watched."""
    if await connection.fetchval("SELECT to_regclass('public.chaos_editions')", timeout=10) is None:
        return []
    rows = await connection.fetch(
        "SELECT * FROM public.chaos_editions WHERE namespace = $1 ORDER BY number", namespace, timeout=60
    )
    return [_edition(row) for row in rows]


def _edition(row: Any) -> Edition:
    told = msgspec.json.decode(row["definition"])
    return Edition(
        name=row["name"],
        version=row["version"],
        state=row["state"],
        since_ms=row["since_ms"],
        expression=told["expression"],
        misfire=told["misfire"],
        overlap=told["overlap"],
        queue=told["queue"],
        mark=str(told["payload"].get("mark", "")),
    )
