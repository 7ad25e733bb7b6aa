"""What a node of a cluster knows of all its nodes."""

from dataclasses import dataclass
from typing import Self

from testutil.topology.node import Node


@dataclass(frozen=True, slots=True)
class Table:
    """What a node says in CLUSTER NODES; one list of words per node."""

    lines: list[list[str]]

    @classmethod
    def of(cls, node: Node) -> Self:
        text: str = node.call("CLUSTER", "NODES")
        return cls([line.split() for line in text.splitlines()])

    @property
    def own_slots(self) -> list[tuple[int, int]]:
        own = next(line for line in self.lines if "myself" in line[2].split(","))
        bounds = [words.partition("-") for words in _ranges(own)]
        return [(int(first), int(last or first)) for first, _, last in bounds]

    def owns_slots(self, owner_id: str) -> bool:
        return any(line[0] == owner_id and _ranges(line) for line in self.lines)

    def has_flag(self, flag: str) -> bool:
        return any(flag in line[2].split(",") for line in self.lines)


def _ranges(line: list[str]) -> list[str]:
    """Without the slots on the move, which are in brackets."""
    return [words for words in line[8:] if not words.startswith("[")]
