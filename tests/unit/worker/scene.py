"""What the unit tests of the worker say again and again."""

from collections.abc import Sequence
from typing import Any

from jobqueue.broker.base import Delivery, Settlement
from jobqueue.job import Job
from jobqueue.outcome import COMPLETED, Outcome


def delivery(n: int = 0, *, body: bytes | None = None, type: str = "t", queue: str = "q", **facts: Any) -> Delivery:
    job = Job(type, {}, **facts.pop("options", {}))
    given: dict[str, Any] = {"rank": 2, "entry_id": b"%d-0" % (n + 1), "job_id": job.id, **facts}
    return Delivery(queue=queue, body=job.to_wire() if body is None else body, **given)


def settlement(n: int = 0, outcome: Outcome = COMPLETED) -> Settlement:
    return Settlement(delivery=delivery(n), outcome=outcome, type="t")


def numbers(settlements: Sequence[Settlement]) -> list[int]:
    return [int(each.delivery.entry_id.partition(b"-")[0]) - 1 for each in settlements]
