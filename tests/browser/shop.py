"""The tasks that the browser tests run."""

import asyncio
from dataclasses import dataclass, field

from jobqueue import JobContext, Registry, RetryPolicy

ONE_TRY = RetryPolicy(max_retries=0)


@dataclass
class Shop:
    """What the tests may turn."""

    broken: bool = True
    """`order.ship` fails."""
    message: str = "the carrier does not answer"
    error_class: str = "CarrierError"
    go: asyncio.Event = field(default_factory=asyncio.Event)
    """Lets `report.build` end."""


def registry_of(shop: Shop) -> Registry:
    """The registry of one stage."""
    registry = Registry()

    @registry.task("greet")
    async def greet(name: str, copies: int = 1, loud: bool = False) -> dict[str, object]:
        return {"greeting": f"hello {name}" * copies, "loud": loud}

    @registry.task("order.ship", retry=ONE_TRY)
    async def ship(order: str, note: str = "") -> None:
        if shop.broken:
            raise type(shop.error_class, (Exception,), {})(shop.message)

    @registry.task("report.build", retry=ONE_TRY)
    async def build(ctx: JobContext, title: str) -> dict[str, str]:
        ctx.progress({"title": title, "done": 1})
        await shop.go.wait()
        return {"title": title}

    return registry
