"""Migrations as files: found, paired, read. Nothing here talks to Postgres."""

import hashlib
import re
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Final

from jobqueue.errors import ConfigError

NO_TRANSACTION: Final = "-- jobqueue: no transaction"
"""As its first line, a file runs statement by statement: for CREATE INDEX CONCURRENTLY and the like."""

_FILE = re.compile(r"(\d{4})_([a-z0-9_]+?)(\.down)?\.sql")
_STATEMENT_END = re.compile(r";[ \t]*$", re.MULTILINE)
_COMMENT = re.compile(r"^[ \t]*--.*$", re.MULTILINE)


@dataclass(frozen=True)
class Script:
    """One file of SQL."""

    file: str
    sql: str

    @property
    def in_transaction(self) -> bool:
        return not self.sql.startswith(NO_TRANSACTION)

    @cached_property
    def checksum(self) -> str:
        """The same on every platform: line ends do not count."""
        return hashlib.sha256("\n".join(self.sql.splitlines()).encode()).hexdigest()

    @cached_property
    def statements(self) -> list[str]:
        """One by one, for a file without transaction: there a statement ends with `;` at the end of a line.

        Raises:
            ConfigError: the file has dollar quotes, which this simple rule would tear apart.
        """
        if "$$" in self.sql:
            raise ConfigError(f"{self.file}: no dollar quotes in a file without transaction; move them to another one")
        parts = _STATEMENT_END.split(_COMMENT.sub("", self.sql))
        return [part.strip() for part in parts if part.strip()]


@dataclass(frozen=True)
class Migration:
    """One step of the schema, there and back."""

    version: int
    name: str
    up: Script
    down: Script

    @property
    def title(self) -> str:
        return f"{self.version:04d}_{self.name}"


def find_migrations() -> list[Migration]:
    """The migrations that this installation brings, oldest first: from the package, else from the checkout.

    Raises:
        ConfigError: there are none, or they are not numbered 1, 2, 3 ..., or one has no way back.
    """
    packaged = files("jobqueue.repository.postgres") / "migrations"
    place = packaged if packaged.is_dir() else Path(__file__).parents[3] / "migrations"
    return read_migrations(place)


def read_migrations(place: Traversable) -> list[Migration]:
    """The migrations in a folder, oldest first; other files in it are left alone."""
    if not place.is_dir():
        raise ConfigError(f"no folder {place} with migrations: jobqueue is not installed completely; install it again")
    ups: dict[tuple[int, str], Script] = {}
    downs: dict[tuple[int, str], Script] = {}
    for file in place.iterdir():
        if match := _FILE.fullmatch(file.name):
            side = downs if match[3] else ups
            side[int(match[1]), match[2]] = Script(file.name, file.read_text(encoding="utf-8"))
    _check(place, sorted(ups), sorted(downs))
    return [Migration(*key, up=ups[key], down=downs[key]) for key in sorted(ups)]


def _check(place: Traversable, ups: list[tuple[int, str]], downs: list[tuple[int, str]]) -> None:
    if odd := set(ups) ^ set(downs):
        version, name = min(odd)
        raise ConfigError(f"{place}: {version:04d}_{name} needs both a .sql and a .down.sql file")
    if not ups or [version for version, _ in ups] != list(range(1, len(ups) + 1)):
        found = ", ".join(f"{version:04d}" for version, _ in ups) or "none"
        raise ConfigError(f"{place}: migrations must be numbered 0001, 0002 ... without a gap, found {found}")
