"""The arithmetic of the benchmark report: medians, ratios within a round, what is missing, what failed."""

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.report import write
from benchmarks.report.goal import Goal
from benchmarks.report.measured import Measured, Scaled, Spread
from benchmarks.report.page import page
from benchmarks.report.text import number, plain, times


def row(round_: int, system: str, figure: str, value: float, group: str = "drain") -> dict[str, Any]:
    return {"round": round_, "system": system, "group": group, "figure": figure, "value": value}


def failure(round_: int, system: str, group: str, error: str) -> dict[str, Any]:
    return {"round": round_, "system": system, "group": group, "figure": "error", "value": None, "error": error}


def measured(*rows: dict[str, Any], **systems: dict[str, Any]) -> Measured:
    return Measured({"systems": systems}, rows)


def scale_rows(figure: str, cases: dict[Any, float], round_: int = 1) -> list[dict[str, Any]]:
    return [{"round": round_, "figure": figure, "x": x, "value": value, "unit": "u"} for x, value in cases.items()]


def test_a_ratio_is_the_median_of_the_ratios_and_not_the_ratio_of_the_medians() -> None:
    ours, theirs = [100.0, 300.0, 200.0], [10.0, 10.0, 100.0]
    run = measured(
        *(row(n, "jobqueue", "drain_per_s", value) for n, value in enumerate(ours, 1)),
        *(row(n, "arq", "drain_per_s", value) for n, value in enumerate(theirs, 1)),
    )

    assert run.median("jobqueue", "drain_per_s") == 200
    assert run.median("arq", "drain_per_s") == 10
    assert run.ratio("drain_per_s", to="arq") == Spread(median=10, least=2, most=30, rounds=3)


def test_a_ratio_takes_only_rounds_in_which_both_were_measured() -> None:
    run = measured(
        row(1, "jobqueue", "drain_per_s", 100),
        row(2, "jobqueue", "drain_per_s", 900),
        row(3, "jobqueue", "drain_per_s", 300),
        row(1, "arq", "drain_per_s", 50),
        row(3, "arq", "drain_per_s", 100),
        row(4, "arq", "drain_per_s", 1),
    )

    assert run.ratio("drain_per_s", to="arq") == Spread(median=2.5, least=2, most=3, rounds=2)


def test_a_ratio_may_be_to_another_figure_of_the_same_round() -> None:
    run = measured(row(1, "jobqueue", "drain_history_per_s", 120), row(1, "arq", "drain_per_s", 10))

    assert run.ratio("drain_history_per_s", to="arq", to_figure="drain_per_s") == Spread(
        median=12, least=12, most=12, rounds=1
    )


def test_a_system_that_is_missing_or_measured_as_nothing_gives_no_ratio() -> None:
    run = measured(row(1, "jobqueue", "drain_per_s", 100), row(1, "arq", "drain_per_s", 0))

    assert run.ratio("drain_per_s", to="mayu") is None
    assert run.ratio("drain_per_s", to="arq") is None
    assert run.median("mayu", "drain_per_s") is None


def test_a_figure_is_an_error_only_when_it_failed_in_every_round() -> None:
    run = measured(
        row(1, "arq", "drain_per_s", 10),
        failure(2, "arq", "drain", "boom"),
        failure(1, "rq", "drain", "13 of 300 jobs did not run"),
        failure(2, "rq", "drain", "14 of 300 jobs did not run"),
    )

    assert run.error("arq", "drain_per_s") is None
    assert run.error("rq", "drain_per_s") == "13 of 300 jobs did not run"
    assert run.error("saq", "drain_per_s") is None
    assert run.errors() == [
        ("arq", "drain", 1, "boom"),
        ("rq", "drain", 2, "13 of 300 jobs did not run"),
    ]


def test_jobs_that_ran_twice_are_added_up_over_groups_and_rounds() -> None:
    run = measured(
        row(1, "saq", "ran_twice", 2, group="drain"),
        row(1, "saq", "ran_twice", 3, group="io"),
        row(2, "saq", "ran_twice", 1, group="drain"),
        row(1, "saq", "missing", 0, group="drain"),
    )

    assert (run.counted("saq", "ran_twice"), run.counted("saq", "missing")) == (6, 0)


def test_the_page_marks_what_loses_jobs_and_does_not_call_it_a_rival() -> None:
    run = measured(
        row(1, "jobqueue", "drain_per_s", 100),
        row(1, "fast", "drain_per_s", 500),
        row(1, "safe", "drain_per_s", 50),
        row(1, "floor_bare", "drain_per_s", 900),
        fast={"name": "fast 1", "crash_safe": False},
        safe={"name": "safe 2", "crash_safe": True},
    )

    text = page(run, None, [])

    assert run.rivals() == ["safe"]
    assert "| fast 1 † |" in text
    assert "| drain of no-ops | more | safe 2 | 2.00 × | yes |" in text
    assert "Every row that was measured is won." in text


def test_the_page_tells_lost_rows_and_errors_and_shows_no_machine_path() -> None:
    run = measured(
        row(1, "jobqueue", "drain_per_s", 100),
        row(1, "arq", "drain_per_s", 200),
        failure(1, "rq", "drain", "exit 1:\n  File '/home/ada/x.py' redis://127.0.0.1:99/0 | done"),
    )

    text = page(run, None, [])

    assert "Rows that are not won: drain of no-ops (arq)." in text
    assert "| rq | error |" in text
    assert "| rq | drain | 1 of 1 | exit 1: File '…' … \\| done |" in text
    assert "/home/ada" not in text


@pytest.mark.parametrize(
    ("value", "bound", "places", "met"),
    [
        (1.5, "≥", 2, True),
        (1.496, "≥", 2, True),
        (1.49, "≥", 2, False),
        (1.5, "≤", 2, True),
        (1.51, "≤", 2, False),
        (1.5, "<", 2, False),
    ],
)
def test_a_goal_is_judged_as_its_value_is_printed(value: float, bound: Any, places: int, met: bool) -> None:
    goal = Goal(text="drain", figure="drain_per_s", bound=bound, limit=1.5, places=places)

    assert goal.met(value) is met


def test_a_goal_reads_a_ratio_a_value_or_a_case_of_the_scale_file() -> None:
    run = measured(row(1, "jobqueue", "rss", 44), row(1, "jobqueue", "us", 6), row(1, "floor_bare", "us", 4))
    scaled = Scaled({}, [*scale_rows("idle", {"worker": 50}), *scale_rows("idle", {"worker": 70}, round_=2)])
    plain_goal = Goal(text="", figure="rss", bound="≤", limit=45)
    ratio_goal = Goal(text="", figure="us", bound="≤", limit=1.5, to="floor_bare")
    scale_goal = Goal(text="", figure="idle", bound="≤", limit=60, case="worker")

    medians = [each.measured(run, scaled) for each in (plain_goal, ratio_goal, scale_goal)]

    assert [spread and spread.median for spread in medians] == [44, 1.5, 60]
    assert scale_goal.measured(run, None) is None


def test_numbers_keep_the_digits_that_count() -> None:
    assert [number(each) for each in (None, 123_456, 12_345, 4_567.4, 89.12, 0.516, 0.0067, 0)] == [
        "–",
        "123 k",
        "12.3 k",
        "4 567",
        "89.1",
        "0.52",
        "0.0067",
        "0.00",
    ]
    assert times(Spread(median=2.5, least=2, most=3, rounds=2)) == "2.50 × (2.00–3.00)"
    assert plain("a\nb " + "x" * 300).endswith("x…")


def test_everything_is_written_and_the_charts_are_small(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    systems = ["jobqueue", "arq", "floor_bare", *(f"system_{n}" for n in range(14))]
    figures = ["enqueue_one_per_s", "drain_per_s", "latency_p50_ms", "latency_p99_ms", "bytes_per_queued_job"]
    rows = [row(1, name, figure, 10.0 + n) for n, name in enumerate(systems) for figure in figures]
    scale = [
        *scale_rows("depth_enqueue_redis_us", {1000: 3, 10_000: 4}),
        *scale_rows("workers_drain_per_s", {1: 10, 2: 20}),
        *scale_rows("payload_enqueue_redis_us", {100: 4, 1000: 6}),
    ]
    results = tmp_path / "results.json"
    results.write_text(json.dumps({"about": {"systems": {}}, "rows": rows}))
    (tmp_path / "scale.json").write_text(json.dumps({"about": {"server": "valkey 9"}, "rows": scale}))

    written = write(results, docs=tmp_path / "docs")

    text = written.read_text()
    charts = sorted((tmp_path / "docs" / "images").glob("*.png"))
    assert written == tmp_path / "docs" / "reference" / "benchmarks.md"
    assert [chart.stem for chart in charts] == [
        "bench-depth",
        "bench-drain",
        "bench-enqueue",
        "bench-latency",
        "bench-memory",
        "bench-payload",
        "bench-workers",
    ]
    assert all(f"](../images/{chart.name})" in text for chart in charts)
    assert all(chart.stat().st_size < 80_000 for chart in charts)
    assert "### Depth" in text
    assert "bench-redis-cpu" not in text
