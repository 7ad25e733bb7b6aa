"""Schedules as people run them, on real servers: with Postgres, and with Redis alone."""

import json
import os
import re
import signal
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import redis

from jobqueue.schedule import tick_id
from tests.acceptance.test_cli import Shop, eventually

TICKER = """
import json
from pathlib import Path
from jobqueue import JobContext, Registry

registry = Registry()

@registry.cron("* * * * * *", seconds=True, misfire="all", name="ticker", arguments={"n": 7})
@registry.task("tick")
async def tick(ctx: JobContext, n: int) -> None:
    with Path("ticked").open("a") as file:
        file.write(json.dumps([ctx.schedule, ctx.tick.isoformat(), ctx.job_id, n]) + "\\n")

@registry.cron("@yearly")
@registry.task("greet")
async def greet() -> None: ...
"""
JANUARY = ("--from", "2026-01-01T00:00:00Z", "--to", "2026-01-04T00:00:00Z")

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(params=["postgres", "redis"])
def place(request: pytest.FixtureRequest, redis_url: str) -> dict[str, str]:
    """The environment that leads to the servers."""
    if request.param == "redis":
        return {"REDIS_URL": redis_url}
    return {"REDIS_URL": redis_url, "DATABASE_URL": request.getfixturevalue("database_url")}


@pytest.fixture
def shop(place: dict[str, str], tmp_path: Path, namespace: str) -> Shop:
    """A folder and a namespace of the test's own."""
    return Shop(tmp_path, JOBQUEUE_NAMESPACE=namespace, **place)


def test_a_schedule_of_the_code_makes_one_job_a_tick_until_the_code_has_it_no_more(shop: Shop) -> None:
    (shop.folder / "ticker.py").write_text(TICKER)
    with shop.running("scheduler", "-A", "ticker") as scheduler:
        shop.until("schedules.declared")
        eventually(lambda: len(fired(shop)) >= 3, "three ticks", explain=shop.output)
        end(scheduler.pid, shop)
    shop.run("worker", "-A", "ticker", "--burst")
    ran = [json.loads(line) for line in (shop.folder / "ticked").read_text().splitlines()]
    records = fired(shop)

    ticks = [datetime.fromisoformat(tick) for _, tick, _, _ in ran]
    assert [each - ticks[0] for each in ticks] == [timedelta(seconds=n) for n in range(len(ticks))]
    assert [job_id for _, _, job_id, _ in ran] == [tick_id("ticker", int(at.timestamp()) * 1000) for at in ticks]
    assert {(name, n) for name, _, _, n in ran} == {("ticker", 7)}
    assert [each["job_id"] for each in reversed(records)] == [job_id for _, _, job_id, _ in ran]
    shown = shop.json("job", "show", records[0]["job_id"]) if "DATABASE_URL" in shop.environment else None
    assert shown is None or (shown["schedule"], shown["tick"]) == ("ticker", records[0]["tick"])

    refused = shop.run("cron", "add", "ticker", "@daily", "tick", "--replace", code=1)
    kept = shop.run("cron", "rm", "ticker", "--yes", code=1)
    (shop.folder / "ticker.py").write_text(TICKER.replace('@registry.cron("* * * * * *"', '# @registry.cron("'))
    with shop.running("scheduler", "-A", "ticker:registry") as scheduler:
        shop.until("schedules.declared")
        end(scheduler.pid, shop)
    states = {each["name"]: each["state"] for each in shop.json("cron", "ls")}
    ended = shop.run("cron", "resume", "ticker", code=1)
    shop.run("cron", "rm", "ticker", "--yes")

    assert "is defined in code, by ticker:registry; change it there" in refused.stderr
    assert "is defined in code, by ticker:registry; change it there" in kept.stderr
    assert "is retired: ticker:registry defines it no more; jobqueue cron rm ticker removes it" in ended.stderr
    assert "schedule.retired" in shop.output()
    assert states == {"greet": "active", "ticker": "retired"}
    assert [each["name"] for each in shop.json("cron", "ls")] == ["greet"]
    assert actions(shop) == ["remove"]


def test_a_schedule_of_the_command_line_lives_from_its_making_to_its_end(shop: Shop) -> None:
    options = (
        "--timezone",
        "Europe/Madrid",
        "--overlap",
        "skip",
        "--grace",
        "5m",
        "-q",
        "mail",
        "-p",
        "high",
        "--result-ttl",
        "1h",
    )
    none = shop.run("cron", "ls")
    added = shop.run("cron", "add", "digest", "30 2 * * *", "greet", '{"name": "Ada"}', *options)
    known = shop.run("cron", "add", "checked", "@daily", "greet", '{"name": "Ada"}', "-A", "shop")
    shop.run("cron", "rm", "checked", "--yes")
    again = shop.run("cron", "add", "digest", "@daily", "greet", code=1)
    replaced = shop.json("cron", "add", "digest", "0 9 * * *", "greet", '{"name": "Bob"}', *options, "--replace")
    (listed,) = shop.json("cron", "ls", "-q", "mail")
    table = shop.run("cron", "ls").stdout

    assert "no schedules" in none.stderr
    assert added.stdout.splitlines()[0] == "added digest: at 02:30, every day, Europe/Madrid"
    assert [line.split()[0] for line in added.stdout.splitlines()[1:]] == ["next"] * 3
    assert "no app is known, so queue and options are the defaults" in added.stderr
    assert "no app is known" not in known.stderr
    assert "--replace changes it" in again.stderr
    assert (replaced["version"], len(replaced["next"])) == (2, 3)
    assert (listed["expression"], listed["timezone"], listed["queue"]) == ("0 9 * * *", "Europe/Madrid", "mail")
    assert (listed["overlap"], listed["grace_ms"], listed["priority"]) == ("skip", 300_000, "high")
    assert (listed["result_ttl_ms"], listed["never"], listed["headers"]) == (3_600_000, False, {})
    assert (listed["payload"], listed["state"], listed["source"]) == ({"name": "Bob"}, "active", "runtime")
    assert table.split("\n")[1].startswith("digest  0 9 * * *   Europe/Madrid  greet  mail   active  runtime")

    asked = shop.run("cron", "run", "digest").stdout.strip()
    paused = shop.run("cron", "pause", "digest").stdout
    nothing_comes = shop.run("cron", "next", "digest").stderr
    resumed = shop.run("cron", "resume", "digest").stdout
    coming = shop.json("cron", "next", "digest", "-n", "2")
    job = shop.json("job", "show", asked)
    in_words = shop.run("job", "show", asked).stdout
    shown = shop.run("cron", "show", "digest").stdout

    assert "is paused; jobqueue cron resume digest" in paused
    assert "is paused and has no ticks" in nothing_comes
    assert resumed.startswith("resumed digest: at 09:00, every day")
    assert [each["local"][11:19] for each in coming] == ["09:00:00"] * 2
    assert (job["type"], job["payload"], job["queue"], job["priority"]) == ("greet", {"name": "Bob"}, "mail", "high")
    assert (job["schedule"], "tick" in job) == ("digest", False)
    assert re.search(r"^schedule +digest$", in_words, re.MULTILINE)
    assert "rules" in shown
    assert re.search(r"^result_ttl +1h$", shown, re.MULTILINE)
    eventually(lambda: [each["job_id"] for each in shop.json("cron", "ticks", "digest")] == [asked], "its record")

    removed = shop.run("cron", "rm", "digest", "--yes").stdout

    assert removed == "removed digest\n"
    assert shop.json("cron", "ls") == []
    assert [each["state"] for each in shop.json("cron", "ls", "--all")] == ["removed"] * 2
    assert "removed" in shop.run("cron", "show", "digest").stdout
    assert asked in shop.run("cron", "ticks", "digest").stdout
    assert shop.run("cron", "ticks", "checked").stderr == "nothing was decided yet\n"
    assert actions(shop) == ["create", "create", "remove", "change", "run", "pause", "resume", "remove"]


def test_past_ticks_are_made_up_for_once_each(shop: Shop) -> None:
    shop.run("cron", "add", "nightly", "30 2 * * *", "greet", '{"name": "Ada"}')
    planned = shop.run("cron", "backfill", "nightly", *JANUARY, "--dry-run")
    unanswered = shop.run("cron", "backfill", "nightly", *JANUARY, code=1)
    first = shop.run("cron", "backfill", "nightly", *JANUARY, "--limit", "2", "--yes")
    rest = shop.json("cron", "backfill", "nightly", *JANUARY, "--yes")
    done = shop.run("cron", "backfill", "nightly", *JANUARY, "--yes")
    records = shop.json("cron", "ticks", "nightly", "--decision", "backfilled")
    shop.burst()

    assert planned.stdout.count("new") == 3
    assert "would queue 3 jobs" in planned.stderr
    assert "--yes" in unanswered.stderr
    assert "queued 2 jobs" in first.stdout
    assert "these are the first 2 ticks" in first.stderr
    assert [(each["tick"], each["new"]) for each in rest] == [
        ("2026-01-01T02:30:00Z", False),
        ("2026-01-02T02:30:00Z", False),
        ("2026-01-03T02:30:00Z", True),
    ]
    assert "nothing to queue: all 3 had theirs before" in done.stderr
    assert [each["tick"] for each in records] == [f"2026-01-0{day}T02:30:00Z" for day in (3, 2, 1)]
    assert shop.json("queue", "show", "default")["completed"] == 3
    assert actions(shop) == ["create", "backfill", "backfill"]


def test_past_times_without_an_offset_are_of_the_zone_of_the_schedule(shop: Shop) -> None:
    shop.run("cron", "add", "nightly", "0 0 * * *", "greet", "--timezone", "Europe/Madrid")
    dates = shop.json("cron", "backfill", "nightly", "--from", "2026-01-01", "--to", "2026-01-03", "--dry-run")
    times = ("--from", "2026-01-01T00:01", "--to", "2026-01-03T00:01+01:00")
    timed = shop.json("cron", "backfill", "nightly", *times, "--dry-run")
    skipped = ("--from", "2026-03-29T02:30", "--to", "2026-04-01")
    refused = shop.run("cron", "backfill", "nightly", *skipped, "--dry-run", code=2)
    backwards = shop.run("cron", "backfill", "nightly", "--from", "2026-01-02", "--to", "2026-01-01", code=2)
    coming = shop.json("cron", "next", "nightly", "--after", "2027-01-01", "-n", "1")

    assert [each["tick"] for each in dates] == ["2025-12-31T23:00:00Z", "2026-01-01T23:00:00Z"]
    assert [each["tick"] for each in timed] == ["2026-01-01T23:00:00Z", "2026-01-02T23:00:00Z"]
    assert "--from: 2026-03-29 02:30:00 does not exist in Europe/Madrid" in refused.stderr
    assert "--to must be after --from" in backwards.stderr
    assert [each["utc"] for each in coming] == ["2027-01-01T23:00:00Z"]


def test_what_is_asked_of_a_schedule_that_there_is_not_is_told(shop: Shop) -> None:
    shop.run("cron", "add", "nightly", "@daily", "greet")
    close = shop.run("cron", "run", "nightli", code=1)
    unknown = shop.run("cron", "pause", "weekly", code=1)
    future = datetime.now(UTC) + timedelta(days=2)
    ahead = shop.run(
        "cron", "backfill", "nightly", "--from", "2026-01-01T00:00:00Z", "--to", future.isoformat(), code=1
    )

    assert "did you mean 'nightly'?" in close.stderr
    assert "no schedule named 'weekly' (there are: nightly)" in unknown.stderr
    nothing = shop.run("cron", "ticks", "nightly").stderr
    no_ticks = shop.run("cron", "ticks", "nightli", code=1).stderr

    assert f"--to must not be in the future, got {future:%Y-%m-%dT%H:%M:%SZ}; it is 20" in ahead.stderr
    assert re.search(r"it is [0-9-]+T[0-9:]+Z$", ahead.stderr.rstrip())
    assert nothing == "nothing was decided yet\n"
    assert "no schedule named 'nightli'; did you mean 'nightly'?" in no_ticks
    assert actions(shop) == ["create"]


def test_the_doctor_warns_of_ticks_that_nobody_decides(shop: Shop) -> None:
    shop.run("cron", "add", "ticker", "* * * * * *", "greet", "--seconds")
    quiet = shop.json("doctor")
    set_back(shop, "ticker", minutes=2)
    late = {each["about"]: each for each in shop.json("doctor")}

    assert {each["about"]: (each["state"], each["what"]) for each in quiet}["schedules"] == (
        "ok",
        "1 schedule, no tick undecided",
    )
    assert late["schedules"]["state"] == "warning"
    assert "1 schedule with ticks that nobody has decided, the first that of ticker" in late["schedules"]["what"]
    assert "is a `jobqueue scheduler` running?" in late["schedules"]["what"]


def set_back(shop: Shop, name: str, *, minutes: int) -> None:
    """Let its newest decided tick be so long ago, as if no scheduler had run since."""
    key = f"{{{shop.environment['JOBQUEUE_NAMESPACE']}:default}}:cron"
    with redis.Redis.from_url(shop.environment["REDIS_URL"], decode_responses=True) as client:
        version, last_ms, *rest = str(client.hget(key, name)).split()
        client.hset(key, name, " ".join([version, str(int(last_ms) - minutes * 60_000), *rest]))


def fired(shop: Shop) -> list[dict[str, Any]]:
    return [each for each in shop.json("cron", "ticks", "ticker", "--limit", "1000") if each["decision"] == "fired"]


def actions(shop: Shop) -> list[str]:
    return [each["action"].removeprefix("schedule.") for each in reversed(shop.json("audit", "ls"))]


def end(pid: int, shop: Shop) -> None:
    os.kill(pid, signal.SIGTERM)
    shop.until("scheduler.ended")
