"""What is to be lost: by a word of the request, or by the length of the reply."""

from dataclasses import dataclass
from typing import Literal

Fate = Literal["drop request", "drop reply", "swallow reply", "cut reply"]


@dataclass
class _ByWord:
    word: bytes
    fate: Fate
    skip: int
    times: int


@dataclass
class _ByLength:
    length: int
    times: int


class Plans:
    """*chosen* counts the requests and replies that had a fate."""

    def __init__(self) -> None:
        self.chosen = 0
        self.for_requests: list[_ByWord] = []
        self.for_replies: list[_ByLength] = []

    def add(self, word: bytes, fate: Fate, *, after: int, times: int) -> None:
        self.for_requests.append(_ByWord(word.lower(), fate, after, times))

    def shorten(self, length: int, *, times: int) -> None:
        self.for_replies.append(_ByLength(length, times))

    def forget(self) -> None:
        self.for_requests.clear()
        self.for_replies.clear()

    def fate_of(self, request: tuple[bytes, ...] | bytes) -> Fate | None:
        """*request* is its words, or, where it is not RESP, all of it; in lower case."""
        for plan in self.for_requests:
            if plan.word not in request:
                continue
            if plan.skip:
                plan.skip -= 1
                continue
            plan.times -= 1
            if not plan.times:
                self.for_requests.remove(plan)
            self.chosen += 1
            return plan.fate
        return None

    def shortened(self, length: int) -> int | None:
        """How much of a reply, of which *length* bytes are known, may pass."""
        for plan in self.for_replies:
            if length > plan.length:
                plan.times -= 1
                if not plan.times:
                    self.for_replies.remove(plan)
                self.chosen += 1
                return plan.length
        return None
