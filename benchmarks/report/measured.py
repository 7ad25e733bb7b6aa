"""The arithmetic: rows of a results file in, medians and ratios out.

A ratio is taken between two systems of the same round, and then the median over rounds: the machine's
speed differs from minute to minute, and cancels out only within a round.
"""

import json
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

OURS = "jobqueue"
COUNTED = ("ran_twice", "missing")


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """A median with the least and the greatest of *rounds* values."""

    median: float
    least: float
    most: float
    rounds: int

    @classmethod
    def of(cls, values: Iterable[float]) -> "Spread | None":
        """Of one value a round; None without any."""
        known = list(values)
        if not known:
            return None
        return cls(median=statistics.median(known), least=min(known), most=max(known), rounds=len(known))


class Measured:
    """What a run of the harness has measured: figures by system and round, and what failed."""

    def __init__(self, about: Mapping[str, Any], rows: Iterable[Mapping[str, Any]]) -> None:
        self.about = about
        self._values: dict[tuple[str, str], dict[int, float]] = {}
        self._errors: dict[tuple[str, str], list[str]] = {}
        self._groups: dict[str, str] = {}
        self._counted: dict[tuple[str, str], float] = {}
        systems: dict[str, None] = dict.fromkeys(about.get("systems", {}))
        for row in rows:
            systems[row["system"]] = None
            self._take(row)
        self.systems = tuple(systems)
        """In the order in which they were measured."""

    @classmethod
    def load(cls, path: Path) -> Self:
        """A file `{"about": {...}, "rows": [...]}`."""
        stored = json.loads(path.read_text(encoding="utf-8"))
        return cls(stored["about"], stored["rows"])

    def _take(self, row: Mapping[str, Any]) -> None:
        system, figure, group, value = row["system"], row["figure"], row.get("group", ""), row.get("value")
        if figure == "error" or value is None:
            self._errors.setdefault((system, group), []).append(str(row.get("error", "")))
        elif figure in COUNTED:
            # Each group counts its own jobs, so the name comes more than once in a round.
            self._counted[system, figure] = self._counted.get((system, figure), 0) + value
        else:
            self._values.setdefault((system, figure), {})[row["round"]] = float(value)
            self._groups.setdefault(figure, group)

    @property
    def rounds(self) -> int:
        """How many rounds there were."""
        return max((number for values in self._values.values() for number in values), default=0)

    def spread(self, system: str, figure: str) -> Spread | None:
        """Median over rounds, least and most."""
        return Spread.of(self._values.get((system, figure), {}).values())

    def median(self, system: str, figure: str) -> float | None:
        """Median over the rounds in which it was measured."""
        spread = self.spread(system, figure)
        return spread.median if spread else None

    def ratio(self, figure: str, *, to: str, to_figure: str | None = None, of: str = OURS) -> Spread | None:
        """Of a system's figure to another system's, in the same round; rounds in which one is missing are left out."""
        ours, theirs = self._values.get((of, figure), {}), self._values.get((to, to_figure or figure), {})
        return Spread.of(ours[number] / theirs[number] for number in ours if theirs.get(number))

    def error(self, system: str, figure: str) -> str | None:
        """Why there is no such figure: its measurement failed in every round."""
        if (system, figure) in self._values:
            return None
        return next(iter(self._errors.get((system, self._groups.get(figure, figure)), [])), None)

    def errors(self) -> list[tuple[str, str, int, str]]:
        """Everything that failed: system, what was measured, in how many rounds, the first message."""
        return [(system, group, len(texts), texts[0]) for (system, group), texts in self._errors.items()]

    def counted(self, system: str, figure: str) -> int:
        """How many jobs ran twice, or are missing, in all measurements together."""
        return int(self._counted.get((system, figure), 0))

    def name(self, system: str) -> str:
        """As it calls itself, with its version; `†` when a job is lost with its worker."""
        told = self.about.get("systems", {}).get(system, {})
        return f"{told.get('name', system)}{'' if self.crash_safe(system) else ' †'}"

    def crash_safe(self, system: str) -> bool:
        """Whether a job survives the death of its worker; unknown counts as yes."""
        return bool(self.about.get("systems", {}).get(system, {}).get("crash_safe", True))

    def rivals(self) -> list[str]:
        """The crash-safe systems beside ours; floors are no rivals."""
        return [each for each in self.systems if each != OURS and self.crash_safe(each) and not is_floor(each)]


def is_floor(system: str) -> bool:
    """Whether it is what Streams cost at the least, without features."""
    return system.startswith("floor_")


class Scaled:
    """What `benchmarks.scale` has measured: figures by case, medians over rounds."""

    def __init__(self, about: Mapping[str, Any], rows: Iterable[Mapping[str, Any]]) -> None:
        self.about = about
        self._values: dict[str, dict[float | str, list[float]]] = {}
        for row in rows:
            self._values.setdefault(row["figure"], {}).setdefault(row["x"], []).append(float(row["value"]))

    @classmethod
    def load(cls, path: Path) -> Self:
        """A file `{"about": {...}, "rows": [...]}`."""
        stored = json.loads(path.read_text(encoding="utf-8"))
        return cls(stored["about"], stored["rows"])

    def cases(self, figure: str) -> dict[float | str, float]:
        """Case -> median over rounds; empty when it was not measured."""
        return {x: statistics.median(values) for x, values in self._values.get(figure, {}).items()}

    def spread(self, figure: str, x: float | str) -> Spread | None:
        """Of one case."""
        return Spread.of(self._values.get(figure, {}).get(x, []))
