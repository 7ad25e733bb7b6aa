"""How long jobs waited and ran, by batch, into the histograms of a worker.

On the hot path where a probe is asked for, and only there. A batch is sorted once, so that a bucket costs one search
a batch and not one a job.
"""

from collections.abc import Sequence

from jobqueue.broker.base import Settlement
from jobqueue.middleware.metrics import Metrics


def record_times(metrics: Metrics, batch: Sequence[Settlement]) -> None:
    """Count what ran. What ended without having run has no duration."""
    ran: dict[tuple[str, str], list[Settlement]] = {}
    for settlement in batch:
        if settlement.duration_ms:
            key = (settlement.delivery.queue, settlement.type)
            group = ran.get(key)
            if group is None:
                ran[key] = [settlement]
            else:
                group.append(settlement)
    for (queue, type_name), group in ran.items():
        metrics.duration_of(queue, type_name).add([each.duration_ms for each in group])
        # The id begins with when it became ready, by the broker's clock; ours may differ by a little.
        metrics.wait_of(queue).add([each.started_ms - int(each.delivery.entry_id.split(b"-", 1)[0]) for each in group])
