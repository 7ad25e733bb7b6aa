"""The SQL of this adapter, by name: `sql/*.sql`, in blocks that begin with `-- name: word`.

Each file is read once, at import, into the class that lists its names: a block that the class does
not name, or a name without a block, is an error right there.
"""

import re
from dataclasses import dataclass, fields
from importlib.resources import files
from typing import Final, TypeVar

_BLOCK = re.compile(r"^-- name: *(\S+) *$", re.MULTILINE)
_COMMENT = re.compile(r"^--.*\n?", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveQueries:
    """`sql/archive.sql`."""

    create_cursor: str
    lock_cursor: str
    position: str
    move_cursor: str
    take_over: str
    known_executions: str
    known_letters: str
    known_ticks: str
    add_minutes: str
    ensure_partitions: str
    ensure_coming_partitions: str
    drop_partitions: str
    drop_minutes: str
    drop_requeued: str
    drop_ticks: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutionQueries:
    """`sql/executions.sql`."""

    of_job: str
    newest_of_jobs: str
    recent: str
    recent_of_queue: str
    plan_for_these: str
    search: str
    search_newest: str
    search_words: str
    series: str
    series_of_rows: str
    errors: str
    count_by_outcome: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetterQueries:
    """`sql/dead_letters.sql`."""

    plan_for_these: str
    page: str
    count: str
    groups: str
    get: str
    claim: str
    claim_edited: str
    complete: str
    abandon: str
    unfinished: str
    delete: str
    delete_where: str
    accounted: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKeyQueries:
    """`sql/api_keys.sql`."""

    add: str
    get: str
    list: str
    any: str
    revoke: str
    used: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditQueries:
    """`sql/audit.sql`."""

    append: str
    page: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleQueries:
    """`sql/schedules.sql`."""

    get: str
    list: str
    revision: str
    add: str
    change: str
    forget: str
    add_missing: str
    revise: str
    count: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TickQueries:
    """`sql/ticks.sql`."""

    plan_for_these: str
    page: str
    asked_for: str
    newest: str
    fired: str


_Book = TypeVar("_Book")


def read_book(kind: type[_Book], text: str, *, source: str) -> _Book:
    """The named blocks of *text* as a *kind*.

    Raises:
        ValueError: a name is missing, unknown or given twice, or SQL stands before the first name.
    """
    before, *rest = _BLOCK.split(text)
    names, bodies = rest[0::2], rest[1::2]
    wanted = {each.name for each in fields(kind)}  # type: ignore[arg-type]
    if _COMMENT.sub("", before).strip():
        raise ValueError(f"{source}: SQL before the first `-- name:` line")
    if len(set(names)) != len(names):
        raise ValueError(f"{source}: a name is given twice in {', '.join(names)}")
    if odd := wanted ^ set(names):
        raise ValueError(
            f"{source} and {kind.__name__} differ in {', '.join(sorted(odd))}: a query stands in both, or in none"
        )
    return kind(**{name: _COMMENT.sub("", body).strip() for name, body in zip(names, bodies, strict=True)})


def _load(kind: type[_Book], name: str) -> _Book:
    file = files("jobqueue.repository.postgres") / "sql" / name
    return read_book(kind, file.read_text(encoding="utf-8"), source=f"sql/{name}")


ARCHIVE: Final = _load(ArchiveQueries, "archive.sql")
EXECUTIONS: Final = _load(ExecutionQueries, "executions.sql")
DEAD_LETTERS: Final = _load(DeadLetterQueries, "dead_letters.sql")
API_KEYS: Final = _load(ApiKeyQueries, "api_keys.sql")
AUDIT: Final = _load(AuditQueries, "audit.sql")
SCHEDULES: Final = _load(ScheduleQueries, "schedules.sql")
TICKS: Final = _load(TickQueries, "ticks.sql")
