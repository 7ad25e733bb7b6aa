"""The groups of figures: what is measured together on one fresh server, and of which systems."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from benchmarks.harness import measure, variant
from benchmarks.harness.measure import Figures, fastest
from benchmarks.harness.server import Server
from benchmarks.harness.system import System

Measure = Callable[[System, Server, str, int], Figures]
About = Mapping[str, object]  # what an adapter's `describe` tells


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """One measurement.

    The number of jobs is fitted to the figure *rate* of the group *fitted_by*, else of this one; *times* as many run.
    """

    name: str
    measure: Measure
    rate: str | None
    mode: str | None = None  # else the fastest that the system has
    needs: str | None = None  # what `describe` must say yes to
    fitted_by: str | None = None
    times: int = 1
    aof: bool = False
    others: tuple[str, ...] = ()  # further figures

    @property
    def figures(self) -> tuple[str, ...]:
        return (*((self.rate,) if self.rate else ()), *self.others)

    def fits(self, about: About) -> bool:
        """Whether a system can be measured so."""
        modes = about["modes"]
        return (self.mode is None or self.mode in modes) and (self.needs is None or bool(about.get(self.needs)))

    def mode_for(self, about: About) -> str:
        return self.mode or fastest(about["modes"])


def _enqueue(mode: str) -> Group:
    def measure_mode(system: System, server: Server, mode: str, jobs: int) -> Figures:
        return measure.measure_enqueue(system, server, mode, jobs)

    rate, cpu = f"enqueue_{mode}_per_s", f"enqueue_{mode}_cpu_us"
    return Group(name=f"enqueue_{mode}", measure=measure_mode, mode=mode, rate=rate, others=(cpu,))


def _measure_latency(system: System, server: Server, mode: str, jobs: int) -> Figures:
    return measure.measure_latency(system, server, jobs)


def _drain(figure: str, *, results: bool = False) -> Measure:
    return partial(measure.measure_drain_rate, figure=figure, results=results)


_DRAIN_FIGURES = (
    "redis_us_per_job",
    "redis_enqueue_us",
    "redis_drain_us",
    "redis_commands_per_drained_job",
    "bytes_per_queued_job",
    "bytes_left_per_job",
    "worker_cpu_us_per_job",
    "worker_rss_mb",
    "ran_twice",
    "missing",
)

GROUPS = (
    _enqueue("one"),
    _enqueue("gathered"),
    _enqueue("bulk"),
    Group(name="drain", measure=measure.measure_drain, rate="drain_per_s", others=_DRAIN_FIGURES),
    Group(name="io", measure=measure.measure_io, rate="io_per_s", others=("io_ideal_percent",)),
    Group(name="latency", measure=_measure_latency, rate=None, others=("latency_p50_ms", "latency_p99_ms")),
    Group(
        name="drain_results",
        measure=_drain("drain_results_per_s", results=True),
        rate="drain_results_per_s",
        needs="results",
        fitted_by="drain",
    ),
    Group(name="drain_aof", measure=_drain("drain_aof_per_s"), rate="drain_aof_per_s", fitted_by="drain", aof=True),
    Group(
        name="drain_two_processes",
        measure=variant.measure_two_processes,
        rate="drain_two_processes_per_s",
        fitted_by="drain",
        times=2,
    ),
    Group(name="promoted", measure=variant.measure_promotion, rate="promoted_per_s", needs="delayed"),
    # Rows are shipped once a second: only several seconds tell what is sustained.
    Group(
        name="drain_history",
        measure=variant.measure_history,
        rate="drain_history_per_s",
        needs="history",
        fitted_by="drain",
        times=4,
    ),
)


def choose(wanted: list[str] | None) -> list[Group]:
    """The groups that have these figures, or these names; all without."""
    if wanted is None:
        return list(GROUPS)
    return [group for group in GROUPS if group.name in wanted or set(group.figures) & set(wanted)]
