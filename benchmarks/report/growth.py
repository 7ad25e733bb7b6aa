"""How costs grow: the tables from `benchmarks.scale`."""

from collections.abc import Callable, Mapping

from benchmarks.report.measured import Scaled
from benchmarks.report.text import number, table

_DEPTH = {
    "depth_enqueue_redis_us": "Redis µs per enqueued job",
    "depth_drain_redis_us": "Redis µs per drained job, batches of 100",
    "depth_bytes_per_job": "bytes per queued job",
}
_DELAYED = {
    "delayed_enqueue_redis_us": "Redis µs per enqueued ready job",
    "delayed_drain_redis_us": "Redis µs per drained ready job",
    "delayed_delay_redis_us": "Redis µs per delayed job",
    "delayed_promote_redis_us": "Redis µs per promoted job",
    "delayed_bytes_per_job": "bytes per delayed job",
}
_WORKERS = {
    "workers_drain_per_s": "jobs a second, all together",
    "workers_redis_us_per_job": "Redis µs per job",
    "workers_commands_per_job": "Redis commands per job, in scripts too",
    "workers_python_us_per_job": "worker CPU µs per job",
}
_CONSUMERS = {
    "consumers_redis_us_per_job": "Redis µs of one enqueue, wake and settle",
    "consumers_latency_ms": "ms from enqueue to fetched, median",
    "consumers_asleep_redis_percent": "% of a core of Redis for the sleeping reads",
    "consumers_beat_redis_us": "Redis µs of one heartbeat",
    "consumers_beat_commands": "commands of it, in scripts too",
    "consumers_reap_redis_us": "Redis µs of one look for dead workers",
    "consumers_beats_redis_percent": "% of a core of Redis, when each beats every 2 s (computed)",
    "consumers_reaps_redis_percent": "% of a core of Redis, when each looks every 5 s (computed)",
}
_HERD = {
    "herd_sent_per_job": "commands sent per job",
    "herd_commands_per_job": "with calls inside scripts",
    "herd_extra_sent_per_job": "sent per job, above one worker",
    "herd_extra_commands_per_job": "with calls inside scripts, above one worker",
}
_PAYLOAD = {
    "payload_enqueue_redis_us": "Redis µs per enqueued job",
    "payload_drain_redis_us": "Redis µs per drained job",
    "payload_enqueue_python_us": "producer CPU µs per job, validation included",
    "payload_drain_python_us": "worker CPU µs per job",
    "payload_bytes_per_job": "bytes per queued job",
}
_PROMOTED = {
    "promoted_per_s": "promoted a second, by one promoter",
    "promoted_redis_us_per_job": "Redis µs per job",
    "promoted_python_us_per_job": "scheduler CPU µs per job",
}
_RETENTION = {"retention_bytes_per_result": "bytes in Redis per kept result"}
_IDLE = {
    "idle_sent_per_minute": "commands sent a minute",
    "idle_commands_per_minute": "with calls inside scripts",
    "idle_process_percent": "% of a core, the process",
    "idle_redis_percent": "% of a core, Redis, its own timers too",
    "idle_rss_mb": "RSS, MB",
}


def growth(scaled: Scaled, picture: Callable[[str, str], list[str]]) -> list[str]:
    """The section, without what was not measured."""
    return [
        "## How costs grow",
        "",
        "jobqueue alone, by `python -m benchmarks.scale`, each case against its own smaller case.",
        "",
        *_part(scaled, "Depth", "jobs queued before", _DEPTH, picture("bench-depth", "Cost of a job by depth")),
        *_part(scaled, "Delayed jobs", "delayed jobs in the queue", _DELAYED),
        *_part(
            scaled,
            "Worker processes",
            "processes on this machine",
            _WORKERS,
            picture("bench-workers", "Cost of a job by workers"),
        ),
        *_part(scaled, "Sleeping consumers", "consumers asleep", _CONSUMERS),
        *_part(scaled, "Herd", "workers asleep, one small job each 50 ms", _HERD),
        *_part(
            scaled, "Payload", "bytes of payload", _PAYLOAD, picture("bench-payload", "Cost of a job by payload size")
        ),
        *_part(scaled, "Falling due at once", "delayed jobs due at once", _PROMOTED),
        *_part(scaled, "Kept results", "bytes of a result", _RETENTION),
        *_part(scaled, "Idle", "", _IDLE),
    ]


def _part(
    scaled: Scaled, title: str, case: str, figures: Mapping[str, str], picture: list[str] | None = None
) -> list[str]:
    cases = {text: scaled.cases(figure) for figure, text in figures.items() if scaled.cases(figure)}
    if not cases:
        return []
    xs = list(dict.fromkeys(x for values in cases.values() for x in values))
    head = [case, *(x if isinstance(x, str) else f"{x:,}".replace(",", " ") for x in xs)]
    rows = [[text, *(number(values.get(x)) for x in xs)] for text, values in cases.items()]
    return [f"### {title}", "", *table(head, rows), *(picture or [])]
