"""The Lua scripts, called by keyword. A call that does not fit a script's header fails at import."""

import hashlib
import re
from collections.abc import Sequence
from importlib.resources import files
from typing import Final

from jobqueue.broker.keys import QueueKeys

_SLOT = re.compile(r"^local (\w+)\s*= (?:tonumber\()?(KEYS|ARGV)\[(\d+)\]\)?", re.MULTILINE)

Value = str | bytes | int | float


class Script:
    """One script: its source, and its KEYS and ARGV as its header names them.

    KEYS named like a field of `QueueKeys` are filled from the queue; any other, and every ARGV, is
    given by keyword; without a queue there are no others. What a script takes beyond its named slots is
    passed as *more_keys*, *more_args*.
    """

    def __init__(self, name: str, *, own_keys: Sequence[str] = (), args: Sequence[str] = ()) -> None:
        self.name = name
        self.source = files("jobqueue.broker").joinpath("lua", f"{name}.lua").read_text(encoding="utf-8")
        self.sha = hashlib.sha1(self.source.encode(), usedforsecurity=False).hexdigest()
        self.keys = self._slots("KEYS")
        self.args = self._slots("ARGV")
        queue_keys = set(QueueKeys.__dataclass_fields__)
        self._own_keys = frozenset(own_keys)
        if {key for key in self.keys if key not in queue_keys} != self._own_keys or self.args != list(args):
            raise TypeError(
                f"{name}.lua takes keys {self.keys} and arguments {self.args}; "
                f"scripts.py declares own keys {list(own_keys)} and arguments {list(args)}"
            )

    def _slots(self, kind: str) -> list[str]:
        slots = {int(at): slot for slot, found, at in _SLOT.findall(self.source) if found == kind}
        if sorted(slots) != list(range(1, len(slots) + 1)):
            raise TypeError(f"{self.name}.lua must name {kind}[1] to {kind}[{len(slots)}] without a gap")
        return [slots[at] for at in sorted(slots)]

    def keys_for(self, keys: QueueKeys | None, **own: Value) -> list[Value]:
        """The named KEYS of a call; a hot path makes its command of them itself."""
        return [own[key] if key in self._own_keys else getattr(keys, key) for key in self.keys]

    def command(
        self,
        keys: QueueKeys | None = None,
        *,
        more_keys: Sequence[str] = (),
        more_args: Sequence[Value] = (),
        **given: Value,
    ) -> list[Value]:
        """The EVALSHA command of one call."""
        filled = self.keys_for(keys, **{key: given.pop(key) for key in self._own_keys})
        values = [given.pop(arg) for arg in self.args]
        if given:
            raise TypeError(f"{self.name}.lua takes no {', '.join(sorted(given))}")
        return ["EVALSHA", self.sha, len(filled) + len(more_keys), *filled, *more_keys, *values, *more_args]


DECLARE: Final = Script("declare", args=("epoch", "version"))
ENLIST: Final = Script("enlist", own_keys=("names",))
REGISTER: Final = Script("register", args=("consumer", "lease_ms", "facts"))
ENQUEUE: Final = Script("enqueue", own_keys=("producer",), args=("number", "remember_ms"))
FETCH: Final = Script("fetch", args=("consumer", "want"))
SETTLE: Final = Script(
    "settle",
    args=("fence", "consumer", "lines", "journal_max", "n_critical", "n_high", "n_medium", "n_low"),
)
BEAT: Final = Script("beat", args=("consumer", "lease_ms"))
PROMOTE: Final = Script("promote", args=("limit", "max_bytes"))
JANITOR: Final = Script("janitor", args=("lease_ms", "fresh_ms"))
FORGET: Final = Script("forget", args=("consumer", "leaving"))
CANCEL: Final = Script("cancel", args=("id", "line"))
LOCATE: Final = Script("locate", args=("id",))
PAGE_QUEUED: Final = Script("page_queued", args=("after_rank", "after_entry", "limit", "max_bytes"))
PAGE_RUNNING: Final = Script("page_running", args=("after_rank", "after_entry", "limit", "max_bytes"))
PAGE_DELAYED: Final = Script("page_delayed", args=("after_due", "after_id", "limit", "max_bytes"))
HASTEN: Final = Script("hasten", args=("id",))
PURGE: Final = Script("purge", args=("ranks", "with_delayed", "limit", "skip"))
PAUSE: Final = Script("pause", args=("paused",))
STATS: Final = Script("stats")
REQUEUE: Final = Script("requeue", args=("letter", "edited"))
DROP: Final = Script("drop", args=("letter",))
TRIM: Final = Script("trim", own_keys=("shipped",), args=("upto", "limit", "journal", "primary"))
READD: Final = Script("readd", own_keys=("stream",), args=("rank", "entry"))
LOOK: Final = Script("look")
BEGIN: Final = Script("begin", args=("name", "version", "at_ms", "waiting", "job"))
END: Final = Script("end", args=("name", "version"))
UNWAIT: Final = Script("unwait", args=("name", "version", "kept"))
NOTE: Final = Script("note", own_keys=("noted",), args=("kept", "known_ms"))
FIRE: Final = Script("fire", args=("name", "seen", "seen_first", "overlap", "max_waiting", "rank", "ttl_ms", "kept"))
REVOKE: Final = Script("revoke", own_keys=("known", "revoked"), args=("id", "at_ms"))
TOUCH: Final = Script("touch", own_keys=("known", "used"))
RECORD: Final = Script("record", own_keys=("audit",), args=("most", "entry"))
LOGIN: Final = Script("login", own_keys=("session",), args=("key_id", "ttl_ms"))
TAKE: Final = Script("take", own_keys=("bucket",), args=("cost_us", "depth_us"))
CLAIM: Final = Script("claim", own_keys=("answer",), args=("digest", "patience_ms"))
ANSWER: Final = Script("answer", own_keys=("answer",), args=("digest", "status", "body", "ttl_ms"))
ABANDON: Final = Script("abandon", own_keys=("answer",), args=("digest",))
DEFINE: Final = Script("define", own_keys=("definitions", "revision"), args=("name", "expected", "definition", "most"))
UNDEFINE: Final = Script("undefine", own_keys=("definitions", "revision"), args=("name", "expected"))

ALL: Final = {
    script.sha: script
    for script in (
        DECLARE,
        ENLIST,
        REGISTER,
        ENQUEUE,
        FETCH,
        SETTLE,
        BEAT,
        PROMOTE,
        JANITOR,
        FORGET,
        CANCEL,
        LOCATE,
        PAGE_QUEUED,
        PAGE_RUNNING,
        PAGE_DELAYED,
        HASTEN,
        PURGE,
        PAUSE,
        STATS,
        REQUEUE,
        DROP,
        TRIM,
        READD,
        LOOK,
        BEGIN,
        END,
        UNWAIT,
        NOTE,
        FIRE,
        REVOKE,
        TOUCH,
        RECORD,
        LOGIN,
        TAKE,
        CLAIM,
        ANSWER,
        ABANDON,
        DEFINE,
        UNDEFINE,
    )
}
