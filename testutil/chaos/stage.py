"""Everything a fault can hit."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar, cast

from jobqueue.embedded import EmbeddedServerError, PostgresServer
from jobqueue.embedded.server import Server
from testutil.chaos.crew import Crew, Member, Role
from testutil.chaos.nemesis import Fault
from testutil.chaos.wire import Wire
from testutil.topology import Node, Topology

_Found = TypeVar("_Found")


class Unfit(Exception):
    """There is nothing that this fault could hit now."""


@dataclass(slots=True, kw_only=True)
class Stage:
    """*links* stand before single workers, as their own cables; *losing* are the kinds of faults in which a server
    may forget acknowledged writes."""

    folder: Path
    topology: Topology
    wires: dict[str, Wire]
    links: dict[str, Wire]
    postgres: PostgresServer
    history: Wire
    crew: Crew
    losing: frozenset[str] = field(default_factory=frozenset)
    servers: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def doors(self) -> tuple[str, str]:
        """Redis and Postgres, past the proxies."""
        return self.topology.direct_url, self.postgres.url

    def member(self, fault: Fault) -> Member:
        """The fault's target, running.

        Raises:
            Unfit: it is dead or stopped already.
        """
        members = self.crew.of(cast(Role, fault.role))
        member = members[fault.target % len(members)]
        if member.killed or member.stopped or not member.alive:
            raise Unfit(f"{member.name} is away")
        return member

    def node(self, fault: Fault) -> Node:
        """A data node, whatever it is now."""
        nodes = self.topology.data_nodes
        return nodes[fault.target % len(nodes)]

    def primary(self, fault: Fault) -> Node:
        return _choose(self.topology.primaries(), fault, "primary")

    def replica(self, fault: Fault) -> Node:
        primaries = self.topology.primaries()
        return _choose([node for node in self.topology.data_nodes if node not in primaries], fault, "replica")

    def link(self, fault: Fault) -> tuple[str, Wire]:
        return _choose(sorted(self.links.items()), fault, "link")

    def heal_servers(self) -> None:
        """Every server up and going on, every wire whole."""
        for node in self.topology.nodes:
            _revive(node.server)
        _revive(self.postgres)
        for wire in (*self.wires.values(), *self.links.values(), self.history):
            wire.heal()


def _choose(found: Sequence[_Found], fault: Fault, what: str) -> _Found:
    if not found:
        raise Unfit(f"no {what} now")
    return found[fault.target % len(found)]


def _revive(server: Server) -> None:
    try:
        server.pid  # noqa: B018 - raises when it is dead
    except EmbeddedServerError:
        server.restart()
    else:
        server.resume()
