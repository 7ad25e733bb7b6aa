"""The rounds: in each, every group of figures of every system, one system after the other, in another order."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import click

from benchmarks.harness.error import Failed
from benchmarks.harness.group import GROUPS, About, Group
from benchmarks.harness.measure import Figures, fit
from benchmarks.harness.results import Results
from benchmarks.harness.server import fresh_server
from benchmarks.harness.system import System


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """How long a timed part takes, and how many jobs it has at least and at most."""

    aim_s: float = 1.25
    fewest: int = 200
    most: int = 120_000
    latency_jobs: int = 250


QUICK = Scale(aim_s=0.2, fewest=100, most=5_000, latency_jobs=50)


@dataclass(slots=True, kw_only=True)
class Rounds:
    """A run: systems by name, what each tells of itself, and where the rows go."""

    systems: Sequence[System]
    abouts: Mapping[str, About]
    groups: Sequence[Group]
    scale: Scale
    results: Results
    binary: str
    _failed_fits: dict[tuple[str, str], str] = field(default_factory=dict)

    def run(self, rounds: int) -> None:
        for round_ in range(1, rounds + 1):
            # Another begins in each round: nobody is always the first, or behind the same one.
            first = (round_ - 1) % len(self.systems)
            for group in self.groups:
                for system in (*self.systems[first:], *self.systems[:first]):
                    if group.fits(self.abouts[system.name]) and not self.results.has(round_, system.name, group.name):
                        self._measure(round_, group, system)
                        self.results.write()

    def _measure(self, round_: int, group: Group, system: System) -> None:
        started = time.monotonic()
        where = (round_, system.name, group.name)
        try:
            jobs = self._jobs(group, system)
            figures = self._on_fresh_server(group, system, jobs)
        except Failed as error:
            self.results.add(*where, 0, error.figures)
            self._add_error(where, str(error))
        except Exception as error:  # a broken system, or a server that died: the run goes on
            self._add_error(where, f"{type(error).__name__}: {error}")
        else:
            self.results.add(*where, jobs, figures)
            _tell(where, jobs, group, figures, time.monotonic() - started)

    def _add_error(self, where: tuple[int, str, str], error: str) -> None:
        self.results.add_error(*where, error)
        click.secho(f"round {where[0]}  {where[1]:<16} {where[2]:<20} {error}", fg="red")

    def _jobs(self, group: Group, system: System) -> int:
        """How many jobs, fitted once in a run and kept for the next rounds."""
        if group.rate is None:
            return self.scale.latency_jobs
        fitting = group.fitted_by or group.name
        fitted = self.results.about["jobs"].setdefault(system.name, {})
        if fitting not in fitted:
            fitted[fitting] = self._fit(fitting, system)
        return fitted[fitting] * group.times

    def _fit(self, fitting: str, system: System) -> int:
        key = (system.name, fitting)
        if key in self._failed_fits:
            raise Failed(f"as before: {self._failed_fits[key]}")
        group = next(each for each in GROUPS if each.name == fitting)

        def seconds_for(jobs: int) -> float:
            return jobs / self._on_fresh_server(group, system, jobs)[group.rate]

        try:
            return fit(seconds_for, aim_s=self.scale.aim_s, fewest=self.scale.fewest, most=self.scale.most)
        except Failed as error:
            self._failed_fits[key] = str(error)
            raise

    def _on_fresh_server(self, group: Group, system: System, jobs: int) -> Figures:
        with fresh_server(self.binary, aof=group.aof) as server:
            return group.measure(system, server, group.mode_for(self.abouts[system.name]), jobs)


def _tell(where: tuple[int, str, str], jobs: int, group: Group, figures: Figures, seconds: float) -> None:
    round_, system, name = where
    shown = "  ".join(f"{figure} {figures[figure]:,.6g}" for figure in group.figures if figure in figures)
    twice, missing = figures.get("ran_twice", 0), figures.get("missing", 0)
    wrong = f"  RAN TWICE {twice:.0f}, MISSING {missing:.0f}" if twice or missing else ""
    click.echo(f"round {round_}  {system:<16} {name:<20} {jobs:>7,} jobs  {shown}{wrong}  ({seconds:.1f} s)")
