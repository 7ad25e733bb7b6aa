"""What a route is: one line of the table in `routes.py`, from which router, OpenAPI and scope tests come."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final

from aiohttp import web
from pydantic import BaseModel

from jobqueue.access.scope import Scope
from jobqueue.api.call import Call
from jobqueue.api.request import Body
from jobqueue.api.view import View

PREFIX: Final = "/api/v1"

STORE: Final = ("repository-unavailable", "not-configured")
"""Problems of whatever asks Postgres."""


class Open(Enum):
    """What needs no scope."""

    TO_ALL = "no key is needed, and nobody is looked up"
    TO_GUESTS = "no key is needed; a caller with one is told so"
    TO_KEYS = "any valid key will do"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """An answer with more than its view."""

    view: View | None = None
    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


Answer = View | Reply | web.StreamResponse | None
Endpoint = Callable[[Call], Awaitable[Answer]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One address and method.

    *answer* is the model of the answer, a media type, or None for an answer without a body.
    *audit* names the action that is noted when it was done; *scopes_by* the scope that takes the place of *scope*
    when that query parameter is given. *problems* are the kinds that any call may meet here, besides those of all.
    """

    method: str
    path: str
    endpoint: Endpoint
    scope: Scope | Open
    summary: str
    tag: str
    answer: type[View] | str | None = None
    status: int = 200
    also: Mapping[int, str] = field(default_factory=dict)
    """Other good statuses, and when."""
    body: type[Body] | None = None
    body_optional: bool = False
    query: type[BaseModel] | None = None
    audit: str | None = None
    scopes_by: Mapping[str, Scope] = field(default_factory=dict)
    problems: Sequence[str] = ()
    idempotent: bool = False
    """Takes an `Idempotency-Key`."""
    any_query: bool = False
    """Whatever stands behind the `?` is not looked at."""
    head: bool = False
    """Answers `HEAD`, too."""
    stream: bool = False
    """Lives on past the time limit."""

    def scope_for(self, query: Mapping[str, Any]) -> Scope | Open:
        """The scope that a call with this query needs."""
        return next((scope for name, scope in self.scopes_by.items() if name in query), self.scope)
