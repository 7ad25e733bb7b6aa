"""Schedules defined in code: above the task, declared when a scheduler starts.

Run: python examples/cron_in_code.py
Needs: REDIS_URL. For real, `jobqueue scheduler -A shop.jobs` and `jobqueue worker -A shop.jobs` do what main() does.
"""

import asyncio

from jobqueue import JobContext, JobQueue, Registry, Worker

registry = Registry()
seen = asyncio.Event()


@registry.cron("0 9 * * mon-fri", timezone="Europe/Madrid", name="digest.morning", arguments={"audience": "editors"})
@registry.cron("0 18 * * fri", timezone="Europe/Madrid", name="digest.week", misfire="skip")
@registry.task("digest.send", queue="mail")
async def send_digest(ctx: JobContext, audience: str = "everybody") -> None:
    print(f"digest for {audience}, tick {ctx.tick}")


@registry.cron("* * * * * *", seconds=True, overlap="skip")
@registry.task("stock.sync")
async def sync_stock(ctx: JobContext) -> None:
    print(f"{ctx.schedule}: tick {ctx.tick}, job {ctx.job_id}")  # the same tick in every attempt
    seen.set()


async def main() -> None:
    async with JobQueue.from_env() as queue:
        for each in await queue.schedules.declare(registry.schedules, app="shop"):
            print(each.name, each.change)
        for tick in await queue.schedules.next("digest.morning", 3):
            print("next digest:", tick.local, tick.note or "")

        async with asyncio.TaskGroup() as group:
            scheduling = group.create_task(queue.scheduler().run())
            worker = Worker(queue, registry, queues=["default", "mail"])
            group.create_task(worker.run())
            await seen.wait()
            scheduling.cancel()
            worker.stop()

        await queue.schedules.declare([], app="shop")  # the next deploy has none: they are retired
        print({schedule.name: schedule.state.value for schedule in await queue.schedules.list()})


if __name__ == "__main__":
    asyncio.run(main())
