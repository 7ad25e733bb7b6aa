"""A client of the HTTP API: a job is queued once, however often the request has to be repeated.

Run: python examples/http_client.py
Needs: REDIS_URL, and DATABASE_URL, which tells of jobs that have ended. Your own client needs aiohttp only.
"""

import asyncio

import aiohttp
from aiohttp.test_utils import TestServer

from jobqueue import JobQueue, Registry, Worker, create_app

registry = Registry()


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
                    raise ValueError(f"{answer.status}: {body['detail']}")  # repeating it changes nothing
                pause = float(answer.headers.get("Retry-After", 1))
        except (aiohttp.ClientConnectionError, TimeoutError):
            pause = 1.0  # it may have been queued: ask again, under the same key
        await asyncio.sleep(pause)
    raise TimeoutError(f"{once!r}: nobody knows whether it was queued")


async def end(http: aiohttp.ClientSession, job_id: str) -> str:
    """How the job ended, once it has."""
    while True:
        async with http.get(f"/api/v1/jobs/{job_id}", raise_for_status=True) as answer:
            job = await answer.json()
        if job["finished_at"] is not None:
            return str(job["state"])
        await asyncio.sleep(0.5)


async def main() -> None:
    async with (
        JobQueue.from_env() as queue,
        TestServer(create_app(queue, require_keys=False)) as api,  # stands for `jobqueue api` elsewhere
        aiohttp.ClientSession(api.make_url("/")) as http,  # where keys are needed: headers={"X-API-Key": "jq_..."}
    ):
        ids = {await enqueue(http, {"type": "email.send", "payload": {"to": "ada"}}, once="ada-1") for _ in range(3)}
        await Worker(queue, registry, queues=["default"]).run(burst=True)
        print("jobs:", len(ids), *[await end(http, job_id) for job_id in ids])


if __name__ == "__main__":
    asyncio.run(main())
