"""The results file: written anew after every measurement, so that a run that is broken off is not lost."""

import json
import os
from collections.abc import Mapping
from pathlib import Path


class Results:
    """What is known of the run, and its rows in long form.

    A row is {"round", "system", "group", "figure", "value", "jobs"}; one with the figure "error" has no value but a
    text under "error".
    """

    def __init__(self, path: Path, about: dict) -> None:
        self._path = path
        self.about = about
        self.rows: list[dict] = []

    @classmethod
    def load(cls, path: Path) -> "Results":
        stored = json.loads(path.read_text())
        results = cls(path, stored["about"])
        results.rows = stored["rows"]
        return results

    def add(self, round_: int, system: str, group: str, jobs: int, figures: Mapping[str, float]) -> None:
        where = {"round": round_, "system": system, "group": group}
        self.rows += [{**where, "figure": figure, "value": value, "jobs": jobs} for figure, value in figures.items()]

    def add_error(self, round_: int, system: str, group: str, error: str) -> None:
        self.rows.append(
            {"round": round_, "system": system, "group": group, "figure": "error", "value": None, "error": error}
        )

    def has(self, round_: int, system: str, group: str) -> bool:
        """Whether this was measured already; an error counts, too: it took its time."""
        wanted = (round_, system, group)
        return any((row["round"], row["system"], row["group"]) == wanted for row in self.rows)

    def write(self) -> None:
        rows = ",\n".join(json.dumps(row) for row in self.rows)
        text = f'{{"about": {json.dumps(self.about, indent=1)},\n"rows": [\n{rows}\n]}}\n'
        unfinished = self._path.with_suffix(".unfinished")
        unfinished.write_text(text)
        os.replace(unfinished, self._path)
