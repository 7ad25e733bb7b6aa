"""From what a caller sent to a schedule that can be kept."""

from typing import Any

import msgspec

from jobqueue.api.call import Call
from jobqueue.api.intake import checked_job
from jobqueue.api.mask import NothingBehind, unmask
from jobqueue.api.problem import Refusal
from jobqueue.api.schedule.request import ScheduleDefinition
from jobqueue.api.schedule.words import in_fields
from jobqueue.schedule import Schedule


@in_fields("body")
def intake(call: Call, name: str, sent: ScheduleDefinition, *, before: Schedule | None) -> Schedule:
    """Check a definition as the queue will, and its job against the task where this process knows it.

    A masked field of the payload has the value of the schedule *before*; so have the headers, which are not shown.

    Raises:
        InvalidJob: something is refused.
        Refusal: something of the schedule is refused, or its queue is none of the caller's.
    """
    headers = {} if before is None else before.headers
    job = checked_job(call, sent, payload=_whole(call, sent, before), headers=headers)
    return Schedule.of(
        name,
        sent.expression,
        job,
        timezone=sent.timezone,
        seconds=sent.seconds,
        misfire=sent.misfire,
        max_catchup=sent.max_catchup,
        grace=sent.grace,
        overlap=sent.overlap,
        jitter=sent.jitter,
    )


def _whole(call: Call, sent: ScheduleDefinition, before: Schedule | None) -> dict[str, Any]:
    """The payload with its own values behind the masks. Of another task's payload none are taken: that task may show
    what this one hides."""
    same = before is not None and before.type == sent.type
    original = msgspec.json.decode(before.payload) if same and before is not None else {}
    try:
        whole: dict[str, Any] = unmask(sent.payload, original, call.site.settings.mask_fields)
    except NothingBehind as error:
        raise Refusal("invalid-job", str(error)) from error
    return whole
