"""A client of the HTTP API: a job is queued once, however often the request has to be repeated.

Run: python examples/http_client.py
Needs: REDIS_URL, DATABASE_URL, which tells of jobs that have ended; once a key was made, one of kind client in API_KEY.
"""

import asyncio
import os

import aiohttp
from aiohttp.test_utils import TestServer

from jobqueue import JobQueue, Registry, Worker, create_app

registry = Registry()
KEY = {"X-API-Key": os.environ["API_KEY"]} if "API_KEY" in os.environ else None


@registry.task("email.send")
async def send_email(to: str) -> None: ...


async def enqueue(http: aiohttp.ClientSession, job: dict[str, object], *, once: str) -> str:
    """Queue *job* and return its id; the same *once* again, within 24 hours, queues nothing."""
    for _ in range(20):
        try:
            async with http.post("/api/v1/jobs", json=job, headers={"Idempotency-Key": once}) as answer:
                body = await answer.json(content_type=None)
                if answer.ok:
                    return str(body["id"])
                if answer.status not in (429, 503, 504) and not body["type"].endswith("idempotency-busy"):
                    raise SystemExit(f"{answer.status}: {body['detail']}")  # repeating it changes nothing
                pause = float(answer.headers.get("Retry-After", 1))
        except (aiohttp.ClientConnectionError, TimeoutError):
            pause = 1.0  # it may have been queued: ask again, under the same key
        await asyncio.sleep(pause)
    raise TimeoutError(f"{once!r}: nobody knows whether it was queued")


async def state_at_end(http: aiohttp.ClientSession, job_id: str) -> str:
    while True:
        job = await (await http.get(f"/api/v1/jobs/{job_id}", raise_for_status=True)).json()
        if job["finished_at"] is not None:
            return str(job["state"])
        await asyncio.sleep(0.5)


async def main() -> None:
    async with (
        JobQueue.from_env() as queue,
        TestServer(create_app(queue, require_keys=False)) as api,  # stands for `jobqueue api`; a client needs aiohttp
        aiohttp.ClientSession(api.make_url("/"), headers=KEY) as http,
    ):
        ids = {await enqueue(http, {"type": "email.send", "payload": {"to": "ada"}}, once="ada-1") for _ in range(3)}
        await Worker(queue, registry, queues=["default"]).run(burst=True)
        print("jobs:", len(ids), *[await state_at_end(http, job_id) for job_id in ids])


if __name__ == "__main__":
    asyncio.run(main())
