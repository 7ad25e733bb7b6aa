"""The benchmarks' harness: every job is counted, and a run that lost one or ran one twice says so."""

import json
import sys
import textwrap
from pathlib import Path

import pytest

from benchmarks.harness import measure, smoke
from benchmarks.harness.error import Failed
from benchmarks.harness.measure import fit, measure_drain, measure_latency
from benchmarks.harness.results import Results
from benchmarks.harness.server import fresh_server
from benchmarks.harness.system import System, in_this_python
from benchmarks.systems.tally import Tally, text

# An adapter whose worker does to its ten jobs what `plan` says: how often each number runs.
BROKEN = """
import json, signal, sys
import tally

command, options = sys.argv[1], json.loads(sys.argv[2])
if command == "produce":
    print(json.dumps({"seconds": 0.1, "cpu_seconds": 0.1}))
else:
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    tally.open(options["tally"], options["capacity"])
    for n, times in PLAN.items():
        for _ in range(times):
            tally.ran(n)
    signal.sigwait([signal.SIGTERM])
"""


def adapter(folder: Path, plan: dict[int, int]) -> System:
    script = folder / "broken_adapter.py"
    script.write_text(textwrap.dedent(BROKEN).replace("PLAN", repr(plan)))
    systems = Path(smoke.__file__).parents[1] / "systems"
    return System("broken", (sys.executable, str(script)), {"PYTHONPATH": str(systems)})


@pytest.mark.parametrize("name", ["jobqueue", "floor_bare"])
def test_the_smoke_counts_every_job_once(name: str) -> None:
    figures = smoke.measure(in_this_python(name), drain_jobs=300, bulk_jobs=200, gathered_jobs=200)

    assert (figures["ran_twice"], figures["missing"]) == (0, 0)
    compared = {check.figure for check in smoke.CHECKS} - {"worker_cpu_us_per_job"}  # the clock ticks at 100 Hz
    assert all(figures[figure] > 0 for figure in compared)


@pytest.mark.parametrize("name", ["jobqueue", "floor_bare"])
def test_latency_is_measured_from_the_enqueue_to_the_handler(name: str) -> None:
    with fresh_server("valkey") as server:
        figures = measure_latency(in_this_python(name), server, jobs=10)

    assert 0 < figures["latency_p50_ms"] <= figures["latency_p99_ms"]
    assert (figures["ran_twice"], figures["missing"]) == (0, 0)


def test_a_job_that_ran_twice_is_told(tmp_path: Path) -> None:
    plan = {n: 2 if n == 3 else 1 for n in range(10)}

    with fresh_server("valkey") as server:
        figures = measure_drain(adapter(tmp_path, plan), server, "bulk", 10)

    assert (figures["ran_twice"], figures["missing"]) == (1, 0)


def test_a_job_that_never_ran_fails_the_measurement_with_what_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    missing = Tally.missing

    def no_progress_after_the_last(self: Tally, jobs: int) -> int:
        left = missing(self, jobs)
        if left == 1:
            monkeypatch.setattr(measure, "STALLED_S", 0.0)
        return left

    monkeypatch.setattr(Tally, "missing", no_progress_after_the_last)
    plan = {n: 2 if n == 3 else 1 for n in range(10) if n != 5}

    with fresh_server("valkey") as server, pytest.raises(Failed, match="1 of 10 jobs did not run") as failure:
        measure_drain(adapter(tmp_path, plan), server, "bulk", 10)

    assert failure.value.figures == {"ran_twice": 1, "missing": 1}


def test_a_worker_that_dies_is_told_with_its_last_words(tmp_path: Path) -> None:
    system = adapter(tmp_path, {99: 1})  # beyond the capacity of ten

    with fresh_server("valkey") as server, pytest.raises(Failed, match=r"code 1(.|\n)*IndexError"):
        measure_drain(system, server, "bulk", 10)


def test_the_tally_is_shared_through_its_file(tmp_path: Path) -> None:
    one, other = (Tally(str(tmp_path / "tally"), 11) for _ in range(2))

    one.ran(2)
    first = other.ran_at[2]
    other.ran(2)
    one.ran(-1)

    assert list(other.counts) == [0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0]
    assert one.ran_at[2] == first > 0
    assert (one.ran_twice(11), one.missing(11)) == (1, 10)


@pytest.mark.parametrize("n", [-1, 0, 9, 119_999])
def test_every_payload_has_a_hundred_bytes(n: int) -> None:
    assert len(json.dumps({"n": n, "text": text(n)})) == 100


@pytest.mark.parametrize(("per_s", "jobs"), [(50, 200), (1_000, 1_250), (1_000_000, 120_000)])
def test_the_number_of_jobs_is_fitted_to_the_rate(per_s: float, jobs: int) -> None:
    fitted = fit(lambda count: count / per_s, aim_s=1.25, fewest=200, most=120_000)

    assert fitted == jobs


def test_a_run_that_was_broken_off_is_kept(tmp_path: Path) -> None:
    results = Results(tmp_path / "results.json", {"jobs": {}})
    results.add(1, "arq", "drain", 200, {"drain_per_s": 2400.0})
    results.add_error(1, "rq", "drain", "no progress")
    results.write()

    loaded = Results.load(tmp_path / "results.json")

    assert loaded.rows == results.rows
    assert loaded.has(1, "arq", "drain")
    assert loaded.has(1, "rq", "drain")
    assert not loaded.has(2, "arq", "drain")
