"""One request on its way to an endpoint, and the parts of the server that answers it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

from jobqueue.access.base import Access, AuditEntry
from jobqueue.access.gate import Gate
from jobqueue.api.caller import Caller, Callers
from jobqueue.api.cursor import seal, unseal
from jobqueue.api.events import Events
from jobqueue.api.health import Readiness
from jobqueue.api.live import Live
from jobqueue.api.mask import mask
from jobqueue.api.problem import Refusal
from jobqueue.app import JobQueue
from jobqueue.config import ApiSettings
from jobqueue.registry import Registry


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """What the endpoints work with."""

    queue: JobQueue
    registry: Registry | None
    settings: ApiSettings
    callers: Callers
    access: Access | None
    gate: Gate | None
    live: Live
    events: Events
    runs_live: bool
    """Whether this app runs the sampler itself."""
    readiness: Readiness
    routes: Sequence[Any]


@dataclass(slots=True, kw_only=True)
class Call:
    """A request, parsed, from a caller who may make it."""

    site: Site
    request: web.Request
    request_id: str
    caller: Caller
    mount: str
    """Where the app is mounted; empty at the root."""
    path: Mapping[str, str]
    query: Any
    """The route's query model."""
    body: Any
    """The route's body model."""
    noted: list[tuple[str, dict[str, object]]] = field(default_factory=list)
    action: str | None = None
    """What it does, for the audit log, where that is not what the route says."""

    @property
    def queue(self) -> JobQueue:
        return self.site.queue

    @property
    def access(self) -> Access:
        """The ports of access.

        Raises:
            Refusal: there is nothing that keeps keys.
        """
        if self.site.access is None:
            raise Refusal("not-configured", "this server keeps no API keys: its broker is not Redis")
        return self.site.access

    def note(self, target: str, **detail: object) -> None:
        """Something was done to *target*: one row of the audit log."""
        self.noted.append((target, detail))

    def entries(self, action: str) -> list[AuditEntry]:
        """What was noted, for the audit log."""
        return [
            AuditEntry(
                at=datetime.now(UTC),
                actor=self.caller.actor,
                action=self.action or action,
                target=target,
                detail=detail,
                address=self.request.remote or "",
                request_id=self.request_id,
            )
            for target, detail in self.noted
        ]

    def cursor(self) -> str | None:
        """Where the asked-for page begins, for the list itself.

        Raises:
            Refusal: the cursor was given for another list or filter.
        """
        return unseal(self.query.cursor, of=self._list())

    def next_cursor(self, inner: str | None) -> str | None:
        """Where the next page begins, for the caller."""
        return seal(inner, of=self._list())

    def _list(self) -> str:
        chosen = self.query.model_dump_json(exclude={"limit", "cursor"}, exclude_none=True)
        return f"{self.request.path.removeprefix(self.mount)} {chosen}"

    def masked(self, value: Any) -> Any:
        """*value* as it may be shown."""
        return mask(value, self.site.settings.mask_fields)

    async def visible(self) -> tuple[str, ...] | None:
        """The names of the queues that the caller sees, for a filter; None where it sees all."""
        if self.caller.sees_all:
            return None
        plain = [each for each in self.caller.queues if not each.endswith("*")]
        there = [name for name in await self.queue.queues() if self.caller.sees(name)]
        return tuple(sorted({*plain, *there}))
