"""A shop's web application that enqueues jobs, and has the API and the dashboard under /jobs.

Run: python examples/mounted_app.py --once
Needs: REDIS_URL; once a key was made, --once needs one in API_KEY. Else it serves http://127.0.0.1:8080/jobs/.
"""

import asyncio
import os
import sys

import aiohttp
from aiohttp import web

from jobqueue import JobQueue, Registry, create_app

registry = Registry()
QUEUE = web.AppKey("QUEUE", JobQueue)


@registry.task("order.confirm", queue="mail")
async def confirm_order(order: int) -> None:
    print("confirmed", order)


async def take_order(request: web.Request) -> web.Response:
    order = int((await request.json())["order"])
    handle = await request.app[QUEUE].enqueue(confirm_order.job(order=order), idempotency_key=f"order-{order}")
    return web.json_response({"job": handle.id}, status=202)


async def make_site() -> web.Application:
    queue = JobQueue.from_env(registry=registry)
    site = web.Application()
    site[QUEUE] = queue
    site.router.add_post("/orders", take_order)
    # Until the first key is made, everybody on this machine may do all. Leave it out where others come in.
    site.add_subapp("/jobs", create_app(queue, registry=registry, require_keys=False))

    async def close(_: web.Application) -> None:
        await queue.close()

    site.on_cleanup.append(close)  # after `add_subapp`: the API ends before its queue does
    return site


async def once() -> None:
    """Serve a single order, and look at what the API tells of it."""
    runner = web.AppRunner(await make_site())
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    key = {"X-API-Key": os.environ["API_KEY"]} if "API_KEY" in os.environ else None
    async with aiohttp.ClientSession(f"http://127.0.0.1:{runner.addresses[0][1]}", headers=key) as http:
        taken = await (await http.post("/orders", json={"order": 17})).json()
        job = await (await http.get(f"/jobs/api/v1/jobs/{taken['job']}")).json()
        print("the job of order 17:", job.get("state") or job["detail"])
    await runner.cleanup()


if __name__ == "__main__":
    asyncio.run(once()) if "--once" in sys.argv else web.run_app(make_site(), host="127.0.0.1", port=8080)
