"""Ours against the two floors in under a minute: a regression of two times fails, a slow machine does not.

Every figure is compared with a floor of the same round. The best round counts: noise makes a ratio worse, not better.
"""

import statistics
from dataclasses import dataclass

import click

from benchmarks.harness.error import Failed
from benchmarks.harness.measure import Figures, measure_drain, measure_enqueue
from benchmarks.harness.server import fresh_server, preferred_binary
from benchmarks.harness.system import System, in_this_python

OURS = "jobqueue"
SYSTEMS = (OURS, "floor_bare", "floor_redis_py")
ROUNDS = 2
DRAIN_JOBS = 30_000
BULK_JOBS = 30_000
GATHERED_JOBS = 10_000


@dataclass(frozen=True, slots=True)
class Check:
    """A ratio to a floor that must not be worse than *limit*."""

    figure: str
    floor: str
    limit: float
    more_is_better: bool

    def ratio(self, figures: dict[str, Figures]) -> float:
        return figures[OURS][self.figure] / figures[self.floor][self.figure]

    def best(self, ratios: list[float]) -> float:
        return max(ratios) if self.more_is_better else min(ratios)

    def passes(self, ratio: float) -> bool:
        return ratio >= self.limit if self.more_is_better else ratio <= self.limit


# Between what was measured when they were set, quiet or beside other work, and twice that.
CHECKS = (
    Check("drain_per_s", "floor_bare", 0.28, more_is_better=True),
    Check("worker_cpu_us_per_job", "floor_bare", 4.0, more_is_better=False),
    Check("enqueue_bulk_cpu_us", "floor_bare", 2.8, more_is_better=False),
    Check("enqueue_gathered_cpu_us", "floor_bare", 3.0, more_is_better=False),
    Check("redis_us_per_job", "floor_bare", 2.9, more_is_better=False),
)


def run_smoke(rounds: int = ROUNDS) -> bool:
    """Measure, print the ratios, and tell whether all are within their limits."""
    systems = [in_this_python(name) for name in SYSTEMS]
    measured = [{system.name: measure(system) for system in systems} for _ in range(rounds)]
    _show(measured)
    passed = True
    for check in CHECKS:
        ratio = check.best([check.ratio(figures) for figures in measured])
        good = check.passes(ratio)
        passed = passed and good
        bound = "at least" if check.more_is_better else "at most"
        line = f"{check.figure:<24}{ratio:8.2f} x {check.floor:<12} (best round; {bound} {check.limit:g})"
        click.secho(line if good else f"{line}  WORSE", fg=None if good else "red")
    return passed


def _show(measured: list[dict[str, Figures]]) -> None:
    """The figures themselves, as the median of the rounds: no limit is set to them."""
    click.echo(f"{'':<24}" + "".join(f"{name:>16}" for name in SYSTEMS))
    for figure in dict.fromkeys(check.figure for check in CHECKS):
        medians = [statistics.median(figures[name][figure] for figures in measured) for name in SYSTEMS]
        click.echo(f"{figure:<24}" + "".join(f"{median:>16,.1f}" for median in medians))
    click.echo()


def measure(
    system: System, *, drain_jobs: int = DRAIN_JOBS, bulk_jobs: int = BULK_JOBS, gathered_jobs: int = GATHERED_JOBS
) -> Figures:
    """All that the smoke compares, of one system; no job may be lost or run twice.

    Raises:
        Failed: a job ran twice or not at all, or the system failed.
    """
    binary = preferred_binary()
    with fresh_server(binary) as server:
        figures = measure_drain(system, server, "bulk", drain_jobs)
    with fresh_server(binary) as server:
        figures |= measure_enqueue(system, server, "bulk", bulk_jobs)
    with fresh_server(binary) as server:
        figures |= measure_enqueue(system, server, "gathered", gathered_jobs)
    if figures["ran_twice"] or figures["missing"]:
        raise Failed(f"{system.name}: {figures['ran_twice']} jobs ran twice, {figures['missing']} did not run")
    return figures
