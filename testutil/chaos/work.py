"""A worker process of the plant: `python -m testutil.chaos.work`, configured by the environment."""

import asyncio
import dataclasses
import signal
from collections.abc import Sequence
from typing import Any, cast

import structlog

from jobqueue.app import JobQueue
from jobqueue.bootstrap import wire
from jobqueue.broker.base import Broker, Consumer, Settlement
from jobqueue.broker.entry import OUTCOME_NAMES
from jobqueue.cli.lifeline import hold_on
from jobqueue.cli.log import configure_logging
from jobqueue.cli.loop import new_loop
from jobqueue.config import Settings
from jobqueue.errors import LeaseLost
from jobqueue.outcome import Retrying, Snoozed
from jobqueue.runner import Worker
from testutil.chaos.history import Rejected, Settled, now
from testutil.chaos.tasks import registry, scene


def main() -> None:
    hold_on()
    settings = Settings.load()
    configure_logging(settings.log, long_running=True)
    structlog.configure(processors=[_remember_worker, *structlog.get_config()["processors"]])
    with asyncio.Runner(loop_factory=new_loop()) as runner:
        runner.run(_work(settings))


def _remember_worker(_logger: Any, _method: str, event: Any) -> Any:
    """The log tells the name of each incarnation before it runs anything."""
    if event["event"] == "worker.joined":
        scene.worker = event["worker"]
    return event


async def _work(settings: Settings) -> None:
    parts = wire(settings)
    watched = dataclasses.replace(parts, broker=cast(Broker, _WatchedBroker(parts.broker)))
    async with JobQueue(watched, registry) as queue:
        await Worker(queue, registry, observe=_tell_settled).run(handle_signals=True)


class _WatchedBroker:
    """A broker whose consumers tell when their settlements are refused."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    def __getattr__(self, name: str) -> Any:
        return getattr(self._broker, name)

    async def join(self, queues: Sequence[str], *, slots: int | None = None) -> "_WatchedConsumer":
        return _WatchedConsumer(await self._broker.join(queues, slots=slots))


class _WatchedConsumer:
    def __init__(self, consumer: Consumer) -> None:
        self._consumer = consumer

    def __getattr__(self, name: str) -> Any:
        return getattr(self._consumer, name)

    async def settle(self, settlements: Sequence[Settlement]) -> None:
        # Who hears from elsewhere that the lease is gone waits for the answer no more; we do.
        await asyncio.shield(self._settle(settlements))

    async def _settle(self, settlements: Sequence[Settlement]) -> None:
        try:
            await self._consumer.settle(settlements)
        except LeaseLost:
            assert scene.writer is not None
            scene.writer.write(Rejected(at=now(), worker=self._consumer.name, jobs=len(settlements)))
            raise


def _tell_settled(settlement: Settlement) -> None:
    delivery, outcome = settlement.delivery, settlement.outcome
    assert scene.writer is not None
    scene.writer.write(
        Settled(
            at=now(),
            id=delivery.job_id,
            queue=delivery.queue,
            generation=delivery.generation,
            attempt=delivery.attempt,
            outcome=OUTCOME_NAMES[type(outcome)] if settlement.type else "given_back",
            worker=scene.worker,
            delay_ms=outcome.delay_ms if isinstance(outcome, Retrying | Snoozed) else 0,
        )
    )


if __name__ == "__main__":
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    main()
