"""Requests that may be sent twice: the first answer again, for one `Idempotency-Key` of one caller."""

import hashlib
import json
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import timedelta
from typing import Final

from aiohttp import web

from jobqueue.api.call import Call
from jobqueue.api.problem import Refusal
from jobqueue.errors import BrokerError, InvalidJob
from jobqueue.job import check_key

HEADER: Final = "Idempotency-Key"
REPLAYED: Final = "Idempotent-Replayed"
KEPT: Final = timedelta(hours=24)
_SLACK: Final = timedelta(seconds=5)


class Repetition:
    """What a request's `Idempotency-Key` stands for."""

    def __init__(self, key: str) -> None:
        self.key = key
        """Of this caller and address: the same key of another caller is another."""

    def of_job(self, number: int = 0) -> str:
        """The broker's own idempotency key for the *number*th job: what was queued before a crash is not queued
        again, though its answer was never kept."""
        return f"api:{self.key}:{number}"


def repetition(call: Call) -> Repetition | None:
    """The request's key, or None when it has none.

    Raises:
        Refusal: it is none that can be kept.
    """
    given = call.request.headers.getall(HEADER, [])
    if not given:
        return None
    try:
        (text,) = given
        check_key(HEADER, text)
        text.encode("ascii")
    except (ValueError, InvalidJob) as error:
        rule = "must stand once, with 1 to 200 printable ASCII characters without blanks"
        errors = [{"loc": ["header", HEADER], "msg": rule}]
        raise Refusal("invalid-request", f"{HEADER} {rule}", errors=errors) from error
    parts = (call.caller.actor, call.request.method, call.request.path, text)
    return Repetition(hashlib.sha256("\0".join(parts).encode()).hexdigest())


async def once(call: Call, do: Callable[[Repetition | None], Awaitable[web.Response]]) -> web.Response:
    """Answer with *do*, or as the same request was answered before.

    Raises:
        Refusal: the key stands for another body, or the first request is under way.
    """
    repeated = repetition(call)
    if repeated is None or call.site.access is None:
        return await do(repeated)
    answers, digest = call.site.access.answers, _digest(call)
    patience = call.site.settings.timeout + _SLACK
    before = await answers.begin(repeated.key, digest=digest, patience=patience)
    if before.state == "conflict":
        raise Refusal("idempotency-conflict", f"this {HEADER} was used before, with another body")
    if before.state == "busy":
        raise Refusal(
            "idempotency-busy",
            f"the first request with this {HEADER} is being answered",
            retry_after=timedelta(seconds=1),
        )
    if before.state == "done":
        return _json(before.body, before.status, {REPLAYED: "true"})
    try:
        response = await do(repeated)
    except BaseException:
        # Done or not: the same request again is harmless, since the broker knows its key, too.
        with suppress(BrokerError):
            await answers.abandon(repeated.key, digest=digest)
        raise
    with suppress(BrokerError):
        body = bytes(response.body)  # type: ignore[arg-type]
        await answers.finish(repeated.key, digest=digest, status=response.status, body=body, ttl=KEPT)
    return response


def _digest(call: Call) -> str:
    body = None if call.body is None else call.body.model_dump(mode="json")
    canonical = json.dumps(body, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def _json(body: bytes, status: int, headers: dict[str, str]) -> web.Response:
    return web.Response(body=body, status=status, headers=headers, content_type="application/json")
