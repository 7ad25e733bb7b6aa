"""What a network does to bytes at present."""

from dataclasses import dataclass
from typing import Literal

Direction = Literal["requests", "replies"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    latency_s: float = 0.0
    jitter_s: float = 0.0
    bytes_per_second: float | None = None
    stalled: bool = False
    mute_requests: bool = False
    mute_replies: bool = False
    half_open: bool = False

    @property
    def delays(self) -> bool:
        return bool(self.latency_s or self.jitter_s or self.bytes_per_second)

    @property
    def loses_any(self) -> bool:
        return self.half_open or self.mute_requests or self.mute_replies

    def loses(self, direction: Direction) -> bool:
        return self.half_open or (self.mute_requests if direction == "requests" else self.mute_replies)


HEALTHY = Conditions()
