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

    A masked field of payload or headers has the value of the schedule *before*.

    Raises:
        InvalidJob: something is refused.
        Refusal: something of the schedule is refused, or its queue is none of the caller's.
    """
    payload, headers = _whole(call, sent, before)
    job = checked_job(call, sent, payload=payload, headers=headers)
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


def _whole(call: Call, sent: ScheduleDefinition, before: Schedule | None) -> tuple[dict[str, Any], dict[str, str]]:
    """Payload and headers with their own values behind the masks. Of another task's none are taken: that task may
    show what this one hides."""
    fields = call.site.settings.mask_fields
    payload: dict[str, Any] = {}
    headers: dict[str, str] = {}
    if before is None:
        lacking = "there is no schedule yet to take the value from"
    elif before.type != sent.type:
        lacking = "with another type, no value is taken over"
    else:
        lacking = "the schedule has no such field to take the value from"
        payload, headers = msgspec.json.decode(before.payload), dict(before.headers)
    try:
        return (
            unmask(sent.payload, payload, fields, lacking=lacking),
            unmask(sent.headers, headers, fields, lacking=lacking, place="headers"),
        )
    except NothingBehind as error:
        raise Refusal("invalid-job", str(error)) from error
