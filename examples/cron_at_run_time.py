"""Schedules made, changed, looked at and removed by a program, and past ticks made up for.

Run: python examples/cron_at_run_time.py
Needs: REDIS_URL. They fire while a `jobqueue scheduler` runs.
"""

import asyncio
from datetime import UTC, datetime, timedelta

from jobqueue import InvalidSchedule, JobQueue, Registry, TickFilter, Worker

registry = Registry()


@registry.task("report.build", queue="reports")
async def build_report(customer: str) -> None: ...


async def main() -> None:
    async with JobQueue.from_env(registry=registry) as queue:
        schedules = queue.schedules
        for customer, zone in {"acme": "Europe/Madrid", "globex": "America/New_York"}.items():
            status = await schedules.upsert(
                f"report.{customer}",
                "30 2 * * *",
                build_report.job(customer=customer),
                timezone=zone,
                misfire="all",
                max_catchup=7,
                overlap="queue",
            )
            print(f"{status.name}: {status.description}; next {status.next_at}")

        try:
            await schedules.upsert("report.acme", "30 2 31 2 *", build_report.job(customer="acme"))
        except InvalidSchedule as error:
            print("refused:", error)

        handle = await schedules.run("report.acme")  # now, whatever its ticks
        print("asked for:", handle.id)

        until = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        for _ in range(2):  # each tick once: the second time, none is new
            done = await schedules.backfill("report.acme", since=until - timedelta(days=5), until=until)
            print("ticks:", len(done.ticks), "new jobs:", sum(tick.new for tick in done.ticks))
        records, _ = await schedules.ticks(TickFilter(name="report.acme"), limit=3)
        print([record.decision.value for record in records])

        await schedules.pause("report.globex")
        print({each.name: each.state.value for each in await schedules.list(queues=["reports"])})
        for name in ("report.acme", "report.globex"):
            await schedules.remove(name)
        await Worker(queue, registry, queues=["reports"]).run(burst=True)
        print("completed:", (await queue.stats("reports")).completed)


if __name__ == "__main__":
    asyncio.run(main())
