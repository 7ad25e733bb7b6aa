"""The requests and replies of one connection: which reply belongs to which request, and which are lost."""

from testutil.proxy.plan import Fate, Plans
from testutil.proxy.resp import Reply, ReplyScanner, RequestScanner


class Conversation:
    """Given what one side sent, answers how much of it the other may have. A connection has one fate at most.

    What is not RESP is read by read: each is a request or a reply.
    """

    def __init__(self, plans: Plans, *, resp: bool) -> None:
        self._plans = plans
        self._opaque = not resp
        self._requests = RequestScanner()
        self._replies = ReplyScanner()
        self._asked = 0
        self._answered = 0
        self._reply_start = 0
        self._fate: Fate | None = None
        self._fated = 0  # the number of the request
        self._cut_at = 0
        self._over = False

    @property
    def has_fate(self) -> bool:
        return self._fate is not None

    def due(self) -> Fate | None:
        """The fate, once, when its time has come."""
        if self._fate is None or self._over:
            return None
        replies_needed = self._fated + (self._fate in ("drop reply", "swallow reply"))
        if self._answered < replies_needed:
            return None
        self._over = True
        return self._fate

    def request(self, data: bytes) -> bytes:
        if self._fate is not None:
            return b"" if self._fate == "drop request" else data
        if self._opaque:
            return self._opaque_request(data)
        origin = self._requests.seen
        try:
            found = self._requests.feed(data)
        except ValueError:
            self._opaque = True
            return self._opaque_request(data)
        if self._plans.for_requests:
            for number, request in enumerate(found):
                fate = self._plans.fate_of(request.words)
                if fate is not None:
                    self._fate, self._fated = fate, self._asked + number
                    return data[: max(0, request.start - origin)] if fate == "drop request" else data
        self._asked += len(found)
        return data

    def _opaque_request(self, data: bytes) -> bytes:
        if self._plans.for_requests:
            self._fate, self._fated = self._plans.fate_of(data.lower()), self._answered
        return b"" if self._fate == "drop request" else data

    def reply(self, data: bytes) -> bytes:
        if self._over:
            return b""
        origin = self._replies.seen
        ends = self._complete(data)
        if self._fate is not None or self._plans.for_replies:
            return data[: max(0, self._until(ends) - origin)]
        self._answered += sum(not each.pushed for each in ends)
        if ends:
            self._reply_start = ends[-1].end
        return data

    def _complete(self, data: bytes) -> list[Reply]:
        if not self._opaque:
            try:
                return self._replies.feed(data)
            except ValueError:
                self._opaque = True
                self._reply_start = self._replies.seen - len(data)
        else:
            self._replies.seen += len(data)
        return [Reply(self._replies.seen, False)]

    def _until(self, complete: list[Reply]) -> int:
        """How far into the stream the client may read."""
        seen = self._replies.seen
        for end, pushed in complete:
            limit = self._limit(end, pushed)
            if limit is not None:
                self._answered += 1
                return limit
            self._answered += not pushed
            self._reply_start = end
        if self._reply_start < seen:
            limit = self._limit(seen, self._replies.pushed)
            if limit is not None:
                return limit
        return seen

    def _limit(self, known_end: int, pushed: bool) -> int | None:
        """Where the reply that began last has to end before its time."""
        if pushed:
            return None
        if self._fate is None:
            length = self._plans.shortened(known_end - self._reply_start)
            if length is None:
                return None
            self._fate, self._fated, self._cut_at = "cut reply", self._answered, self._reply_start + length
        if self._fate == "cut reply":
            return self._cut_at
        return self._reply_start if self._fate != "drop request" and self._answered >= self._fated else None
