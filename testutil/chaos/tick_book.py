"""What is known about each schedule of the plant, told tick by tick."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from testutil.chaos.editions import Edition
from testutil.chaos.evidence import Evidence
from testutil.chaos.final import Tick
from testutil.chaos.timetable import period_of


@dataclass(slots=True, kw_only=True)
class Book:
    """All that is known about one schedule. *decided*, *waiting* and *backfilled*: its records by
    tick, skipped runs told one by one; *decided* are those that fired or were skipped."""

    name: str
    editions: dict[int, Edition] = field(default_factory=dict)
    rows: list[Tick] = field(default_factory=list)
    decided: dict[int, list[Tick]] = field(default_factory=lambda: defaultdict(list))
    waiting: dict[int, list[Tick]] = field(default_factory=lambda: defaultdict(list))
    backfilled: dict[int, list[Tick]] = field(default_factory=lambda: defaultdict(list))

    def take(self, row: Tick) -> None:
        """Rows come in the order in which they were decided."""
        self.rows.append(row)
        places = {"waiting": self.waiting, "backfilled": self.backfilled}
        if row.decision != "run":
            for tick_ms in self._covered(row):
                places.get(row.decision, self.decided)[tick_ms].append(row)

    def _covered(self, row: Tick) -> Sequence[int]:
        """The ticks that a record is about."""
        edition = self.editions.get(row.version)
        if row.first_ms == row.tick_ms or edition is None:
            return [row.tick_ms]
        return list(ticks_of(edition, row.first_ms - 1, row.tick_ms))

    @property
    def own(self) -> list[Tick]:
        """What schedulers decided; the rest was done by hand."""
        return [row for row in self.rows if row.decision not in ("run", "backfilled")]

    def since_next_ms(self, version: int) -> int | None:
        """When the ticks of a version end; None: not at all."""
        later = [number for number in self.editions if number > version]
        return self.editions[min(later)].since_ms if later else None


def books(evidence: Evidence) -> list[Book]:
    """A book for each schedule; rows that were written twice are in it once, and told by `written_twice`."""
    found: dict[str, Book] = {}
    for edition in evidence.final.editions:
        _book(found, edition.name).editions[edition.version] = edition
    for row in sorted(set(evidence.final.ticks), key=lambda row: (row.at_ms, row.version, row.tick_ms)):
        _book(found, row.name).take(row)
    return list(found.values())


def _book(found: dict[str, Book], name: str) -> Book:
    return found.setdefault(name, Book(name=name))


def ticks_of(edition: Edition, after_ms: int, until_ms: float) -> Iterator[int]:
    """The ticks of a version's expression in a time, worked out without the product's code."""
    period_s = period_of(edition.expression)
    second = after_ms // 1000 + 1
    while second * 1000 <= until_ms:
        if second % 60 % period_s == 0:
            yield second * 1000
        second += 1
