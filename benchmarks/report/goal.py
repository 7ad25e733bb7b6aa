"""The goals of issue 4, and whether they are met."""

from dataclasses import dataclass
from typing import Literal

from benchmarks.report.measured import Measured, Scaled, Spread

IDLE_CASE = "worker, 1 queue"
HERD_CASE = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """A bound for a figure; for its ratio to a system's, where *to* names one."""

    text: str
    figure: str
    bound: Literal["≥", "≤", "<"]
    limit: float
    to: str | None = None
    to_figure: str | None = None
    case: float | str | None = None
    """With a case it is a figure of `benchmarks.scale`."""
    places: int = 2

    def measured(self, measured: Measured, scaled: Scaled | None) -> Spread | None:
        """The value that is judged; None when it was not measured."""
        if self.case is not None:
            return scaled.spread(self.figure, self.case) if scaled else None
        if self.to is not None:
            return measured.ratio(self.figure, to=self.to, to_figure=self.to_figure)
        return measured.spread("jobqueue", self.figure)

    def met(self, value: float) -> bool:
        """Judged as it is printed: rounded to *places*."""
        rounded = round(value, self.places)
        match self.bound:
            case "≥":
                return rounded >= self.limit
            case "≤":
                return rounded <= self.limit
            case "<":
                return rounded < self.limit

    @property
    def limit_text(self) -> str:
        """The bound as people write it."""
        return f"{self.bound} {self.limit:g}{f' × {self.to}' if self.to else ''}"


GOALS = (
    Goal(text="enqueue, awaited one by one", figure="enqueue_one_per_s", bound="≥", limit=1.0, to="mayu"),
    Goal(text="enqueue, awaited one by one", figure="enqueue_one_per_s", bound="≥", limit=3.4, to="arq"),
    Goal(text="enqueue, gathered 100", figure="enqueue_gathered_per_s", bound="≥", limit=2.0, to="ardiq"),
    Goal(text="enqueue, gathered 100", figure="enqueue_gathered_per_s", bound="≥", limit=6.0, to="arq"),
    Goal(text="enqueue, bulk of 1 000", figure="enqueue_bulk_per_s", bound="≥", limit=1.2, to="blitzq"),
    Goal(text="drain of no-ops, one process", figure="drain_per_s", bound="≥", limit=1.5, to="cauli"),
    Goal(text="drain of no-ops, one process", figure="drain_per_s", bound="≥", limit=32, to="arq", places=1),
    Goal(
        text="the same, every execution in Postgres at the end (arq without)",
        figure="drain_history_per_s",
        bound="≥",
        limit=12,
        to="arq",
        to_figure="drain_per_s",
        places=1,
    ),
    Goal(text="10 ms IO at 100, % of ideal", figure="io_ideal_percent", bound="≥", limit=88, places=1),
    Goal(text="idle latency, p50", figure="latency_p50_ms", bound="≤", limit=1.0, to="mayu"),
    Goal(text="idle latency, p99", figure="latency_p99_ms", bound="≤", limit=1.0, to="mayu"),
    Goal(text="Redis CPU per job, enqueue + drain", figure="redis_us_per_job", bound="≤", limit=1.5, to="floor_bare"),
    Goal(text="bytes per queued job", figure="bytes_per_queued_job", bound="≤", limit=300, places=0),
    Goal(text="bytes left per drained job", figure="bytes_left_per_job", bound="≤", limit=0, places=0),
    Goal(text="peak RSS of the worker, MB", figure="worker_rss_mb", bound="≤", limit=45, places=1),
    Goal(
        text="idle worker, commands sent a minute",
        figure="idle_sent_per_minute",
        bound="≤",
        limit=60,
        case=IDLE_CASE,
        places=0,
    ),
    Goal(
        text="the same, calls inside scripts counted too",
        figure="idle_commands_per_minute",
        bound="≤",
        limit=60,
        case=IDLE_CASE,
        places=0,
    ),
    Goal(text="idle worker, % of a core", figure="idle_process_percent", bound="<", limit=0.5, case=IDLE_CASE),
    Goal(
        text="herd: extra commands per job, 32 workers, sent",
        figure="herd_extra_sent_per_job",
        bound="≤",
        limit=2,
        case=HERD_CASE,
    ),
    Goal(
        text="the same, calls inside scripts counted too",
        figure="herd_extra_commands_per_job",
        bound="≤",
        limit=2,
        case=HERD_CASE,
    ),
)
