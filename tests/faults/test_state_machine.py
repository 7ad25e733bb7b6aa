"""The broker against a model of it, on a real Valkey: random steps, shrunk to the shortest that shows a difference.

With `HYPOTHESIS_PROFILE=long`, seventy times as many: `task test:machine`.
"""

import os
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from jobqueue.broker import scripts
from tests.faults.machine import QueueMachine
from testutil.strict import changed_source

LONG = os.environ.get("HYPOTHESIS_PROFILE") == "long"
EXAMPLES, STEPS = (2_000, 80) if LONG else (60, 40)
SETTINGS: dict[str, Any] = {
    "deadline": None,
    "database": None,
    "suppress_health_check": list(HealthCheck),
    "report_multiple_bugs": False,
}


def machine_on(url: str) -> type[QueueMachine]:
    return type("QueueMachine", (QueueMachine,), {"url": url})


@pytest.mark.timeout(3_600 if LONG else 600)
def test_the_broker_does_what_the_model_does(redis_url: str) -> None:
    run_state_machine_as_test(
        machine_on(redis_url), settings=settings(max_examples=EXAMPLES, stateful_step_count=STEPS, **SETTINGS)
    )


BREAKAGES = {
    "a promoted job stays among the delayed": (scripts.PROMOTE, "redis.call('ZREM', delayed, unpack(gone))"),
    "a hastened job stays among the delayed": (scripts.HASTEN, "redis.call('ZREM', delayed, id)"),
    "a page of running jobs forgets where it was": (scripts.PAGE_RUNNING, " or '(' .. after_entry"),
    "an idempotency key is not kept": (
        scripts.ENQUEUE,
        "if plan.key then call('SET', plan.key, id .. ' ' .. plan.digest, 'PX', plan.key_ttl) end",
    ),
    "a cancelled job keeps its unique key": (scripts.CANCEL, "redis.call('HDEL', unique, lock)"),
    "a settled entry stays in its stream": (scripts.SETTLE, "redis.call('XDEL', streams[job.rank + 1], job.entry)"),
}
"""What is left out of a script."""


@pytest.mark.parametrize("breakage", BREAKAGES)
@pytest.mark.timeout(300)
def test_the_model_tells_a_broken_script(redis_url: str, breakage: str) -> None:
    script, left_out = BREAKAGES[breakage]
    assert left_out in script.source
    # With half as many steps, a key that is kept too long costs twenty times the work to find.
    bounds = settings(max_examples=300, stateful_step_count=80, phases=[Phase.generate], derandomize=True, **SETTINGS)

    with changed_source(script, script.source.replace(left_out, "")), pytest.raises(AssertionError):
        run_state_machine_as_test(machine_on(redis_url), settings=bounds)
