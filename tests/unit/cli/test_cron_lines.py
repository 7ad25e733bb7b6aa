"""How a schedule's rules and what was decided are told on one line."""

import json
from datetime import timedelta

import pytest

from jobqueue.cli.cron.record import line_of, options_of, record_of, show_decided
from jobqueue.cli.output import Form
from jobqueue.job import Job
from jobqueue.status import ScheduleStatus
from jobqueue.testing import memory_queue
from jobqueue.tick import Decision, Reason, TickRecord


async def status(**rules: str) -> ScheduleStatus:
    return await memory_queue().schedules.upsert("digest", "@daily", Job("a"), **rules)  # type: ignore[arg-type]


def record(decision: Decision, reason: Reason, job_id: str | None = "01a2") -> TickRecord:
    return TickRecord(
        name="digest",
        queue="default",
        version=1,
        decision=decision,
        reason=reason,
        tick_ms=60_000,
        first_ms=60_000,
        job_id=job_id,
        at_ms=60_001,
    )


async def test_how_many_are_made_up_for_is_told_where_it_counts() -> None:
    assert options_of(await status()) == "misfire once, grace 1m, overlap allow"
    assert options_of(await status(misfire="all")).endswith(", overlap allow, at most 100 made up for")
    assert options_of(await status(overlap="queue")).endswith(", overlap queue, at most 100 made up for")


async def test_a_schedule_is_told_with_all_of_its_job_and_whether_it_ever_comes() -> None:
    job = Job("a", result_ttl=timedelta(hours=1), headers={"tenant": "7"})
    daily = await memory_queue().schedules.upsert("digest", "@daily", job)
    left_out = "*/10 2 * 3 sunL"  # the hour that the clock leaves out
    never = await memory_queue().schedules.upsert("gap", left_out, Job("a"), timezone="Europe/Berlin")

    told = record_of(daily)
    assert (told["result_ttl_ms"], told["headers"], told["never"]) == (3_600_000, {"tenant": "7"}, False)
    assert (record_of(never)["next_at"], record_of(never)["never"]) == (None, True)


@pytest.mark.parametrize("decision", [Decision.SKIPPED, Decision.WAITING])
async def test_the_job_in_the_way_of_a_tick_is_told_from_one_of_its_own(
    decision: Decision, capsys: pytest.CaptureFixture[str]
) -> None:
    behind = record(decision, Reason.OVERLAP)
    listed = await status()
    listed.last = behind
    show_decided([behind, record(Decision.FIRED, Reason.ON_TIME), record(decision, Reason.MISSED, None)], Form.TABLE)
    table = capsys.readouterr().out.splitlines()
    show_decided([behind], Form.JSON)

    assert "behind 01a2" in table[1]
    assert "01a2" in table[2]
    assert not any("behind" in line for line in table[2:])
    assert line_of(listed)["job_id"] == "behind 01a2"
    assert json.loads(capsys.readouterr().out)[0]["job_id"] == "01a2"
