"""Right and wrong uses of a task, for the type checkers: never run, see test_typing.py.

A line that ends in `# E:` must be an error for mypy and for pyright, and no other line may be one.
"""

from datetime import date, timedelta
from typing import assert_type

from jobqueue import Job, JobQueue, Registry

registry = Registry()


@registry.task("email.send", queue="mail", priority="high", timeout=timedelta(seconds=30))
async def send_email(to: str, subject: str, *, urgent: bool = False) -> str:
    return f"{to}: {subject}"


@registry.task("report.build")
def build_report(day: date, pages: int = 1) -> dict[str, int]:
    return {day.isoformat(): pages}


@registry.task("tick")
async def tick() -> None: ...


@registry.cron("0 18 * * *", name="evening", priority=9)
@registry.cron("0 9 * * mon-fri", timezone="Europe/Madrid", misfire="once", arguments={"pages": 2})
@registry.task("digest.send")
async def send_digest(pages: int = 1) -> str:
    return str(pages)


@registry.cron("0 9 * * *")  # E: a function is no task
async def no_task() -> None: ...


@registry.cron("0 9 * * *", jitter=30)  # E: a bare number is no duration
@registry.cron("0 9 * * *", overlapp="skip")  # E: no such option
@registry.task("wrong.options")
async def wrong_options() -> None: ...


async def right_scheduled_calls() -> None:
    assert_type(await send_digest(pages=3), str)
    send_digest.job(2)


def wrong_scheduled_jobs() -> None:
    send_digest.job("2")  # E: wrong type
    send_digest.job(1, 2)  # E: too many positional


def right_jobs() -> None:
    assert_type(send_email.job(to="ada@example.org", subject="Welcome"), Job)
    send_email.job("ada@example.org", "Welcome")
    send_email.job("ada@example.org", subject="Welcome", urgent=True)
    build_report.job(day=date(2026, 1, 1))
    build_report.job(date(2026, 1, 1), pages=2)
    tick.job()


def wrong_jobs() -> None:
    send_email.job(to=1, subject="Welcome")  # E: wrong type
    send_email.job(to=None, subject="Welcome")  # E: None is no str
    send_email.job(to="ada@example.org")  # E: missing argument
    send_email.job()  # E: all missing
    send_email.job(to="ada@example.org", subject="Welcome", cc="bob@example.org")  # E: unknown argument
    send_email.job("ada@example.org", "Welcome", True)  # E: too many positional
    send_email.job("ada@example.org", to="ada@example.org", subject="Welcome")  # E: given twice
    send_email.job(to="ada@example.org", subject="Welcome", delay=timedelta(hours=1))  # E: an option is no argument
    build_report.job(day="2026-01-01")  # E: wrong type
    build_report.job(date(2026, 1, 1), 1, 2)  # E: too many positional
    build_report.job(date(2026, 1, 1), page=2)  # E: misspelt
    tick.job(1)  # E: takes none


async def right_calls() -> None:
    assert_type(await send_email(to="ada@example.org", subject="Welcome"), str)
    assert_type(build_report(date(2026, 1, 1)), dict[str, int])
    await tick()


async def wrong_calls() -> None:
    await send_email(to=1, subject="Welcome")  # E: wrong type
    await send_email(to="ada@example.org")  # E: missing argument
    build_report()  # E: missing argument
    build_report(date(2026, 1, 1), pages="two")  # E: wrong type


async def right_enqueues(queue: JobQueue) -> None:
    await queue.enqueue(tick.job())
    await queue.enqueue(tick.job(), delay=timedelta(hours=1), priority="critical", queue="mail", max_retries=0)
    await queue.enqueue(Job("tick", {}))


async def wrong_enqueues(queue: JobQueue) -> None:
    await queue.enqueue(tick)  # E: a task is no job
    await queue.enqueue(tick.job(), delay=3600)  # E: a bare number is no duration
    await queue.enqueue(tick.job(), prioritee="high")  # E: no such option
