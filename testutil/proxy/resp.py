"""Where the messages of a RESP stream begin and end; of a request also its first two words.

Offsets count from the beginning of the stream. An element costs 0.2 us, whatever its length: bodies are skipped.
Both scanners raise ValueError for what is no RESP.
"""

from typing import NamedTuple

_LONGEST_WORD = 64
_LONGEST_LINE = 2**16
_ARRAY, _BULK, _PUSH, _ATTRIBUTE, _MAP = b"*$>|%"
_OTHER_AGGREGATES = b"~"
_BULKS = frozenset(b"$!=")
_LINES = frozenset(b"+-:,#_(")
_ZERO = ord("0")


class Request(NamedTuple):
    start: int
    words: tuple[bytes, ...]  # the command and its first argument in lower case; a longer one than 64 bytes is empty


class Reply(NamedTuple):
    end: int
    pushed: bool  # RESP3: no request asked for it


class RequestScanner:
    def __init__(self) -> None:
        self.seen = 0
        self._next = 0  # where the next element begins
        self._tail = b""  # what is there of it
        self._left = 0  # elements the request still lacks
        self._start = 0
        self._words: list[bytes] = []

    def feed(self, chunk: bytes) -> list[Request]:
        """The requests of which every element has begun: the last one's body may still be on its way."""
        data = self._tail + chunk if self._tail else chunk
        origin = self.seen - len(self._tail)
        self.seen += len(chunk)
        found = []
        pos, size, left, words = self._next - origin, len(data), self._left, self._words
        wanted = min(2 - len(words), left)
        while pos < size:
            if data[pos] != (_BULK if left else _ARRAY):
                raise ValueError("no RESP request")
            eol = data.find(b"\r\n", pos)
            if eol < 0:
                break
            if not left:
                self._start, words, left = origin + pos, [], max(0, int(data[pos + 1 : eol]))
                wanted = min(2, left)
                pos = eol + 2
                continue
            end = eol + 2 + (data[pos + 1] - _ZERO if eol - pos == 2 else int(data[pos + 1 : eol]))
            if wanted:
                wanted -= 1
                is_word = end - eol <= _LONGEST_WORD
                if is_word and end > size:
                    wanted += 1
                    break
                words.append(data[eol + 2 : end].lower() if is_word else b"")
            pos = end + 2
            left -= 1
            if not left:
                found.append(Request(self._start, tuple(words)))
        self._next, self._left, self._words = origin + pos, left, words
        self._tail = _rest(data, pos)
        return found


class ReplyScanner:
    def __init__(self) -> None:
        self.seen = 0
        self._next = 0
        self._tail = b""
        self._left = 0
        self.pushed = False  # what began last
        self._ending: Reply | None = None  # its last body is still on its way

    def feed(self, chunk: bytes) -> list[Reply]:
        """The replies that are complete."""
        data = self._tail + chunk if self._tail else chunk
        origin = self.seen - len(self._tail)
        self.seen += len(chunk)
        found = [self._ending] if self._ending else []
        pos, size, left = self._next - origin, len(data), self._left
        while pos < size:
            eol = data.find(b"\r\n", pos)
            if eol < 0:
                break
            kind = data[pos]
            if not left:
                left, self.pushed = 1, kind == _PUSH
            left -= 1
            if kind in _LINES:
                pos = eol + 2
            else:
                length = data[pos + 1] - _ZERO if eol - pos == 2 else int(data[pos + 1 : eol])
                if kind in _BULKS:
                    pos = eol + 4 + length if length >= 0 else eol + 2
                else:
                    left += _children(kind, length)
                    pos = eol + 2
            if not left:
                found.append(Reply(origin + pos, self.pushed))
        self._next, self._left = origin + pos, left
        self._tail = _rest(data, pos)
        self._ending = found.pop() if found and found[-1].end > self.seen else None
        return found


def _children(kind: int, length: int) -> int:
    """How many elements an aggregate of this length adds; an attribute is followed by what it describes."""
    if kind in (_ARRAY, _PUSH) or kind in _OTHER_AGGREGATES:
        return max(0, length)
    if kind == _MAP:
        return 2 * length
    if kind == _ATTRIBUTE:
        return 2 * length + 1
    raise ValueError("no RESP reply")


def _rest(data: bytes, pos: int) -> bytes:
    if len(data) - pos > _LONGEST_LINE:
        raise ValueError("no RESP: a line without an end")
    return data[pos:]
