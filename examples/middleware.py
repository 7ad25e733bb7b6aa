"""Middleware around every attempt: one that measures, one that carries a tenant from producer to handler.

Run: python examples/middleware.py
Needs: REDIS_URL.
"""

import asyncio
import time
from contextvars import ContextVar

from jobqueue import CallNext, JobContext, JobQueue, Registry, Worker

registry = Registry()
tenant: ContextVar[str] = ContextVar("tenant", default="nobody")


async def measure(ctx: JobContext, call_next: CallNext) -> object:
    started = time.perf_counter()
    try:
        return await call_next(ctx)  # give back what the handler gave, and let its errors through
    finally:
        print(f"{ctx.type} attempt {ctx.attempt} took {time.perf_counter() - started:.3f} s")


async def with_tenant(ctx: JobContext, call_next: CallNext) -> object:
    token = tenant.set(ctx.job.headers.get("tenant", "nobody"))
    try:
        return await call_next(ctx)
    finally:
        tenant.reset(token)


registry.use(measure)  # the first used is outermost
registry.use(with_tenant)


@registry.task("report.build")
async def build_report(month: int) -> None:
    await asyncio.sleep(0.01)
    print(f"report of month {month} for {tenant.get()}")


async def main() -> None:
    async with JobQueue.from_env() as queue:
        await queue.enqueue(build_report.job(month=3), headers={"tenant": "acme"})
        await queue.enqueue(build_report.job(month=4))
        await Worker(queue, registry, queues=["default"]).run(burst=True)


if __name__ == "__main__":
    asyncio.run(main())
