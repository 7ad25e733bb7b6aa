"""Every Redis key, in one place. One queue is one hash tag, so one slot of a cluster."""

from dataclasses import dataclass
from hashlib import sha256

from jobqueue.job import PRIORITIES

GROUP = "workers"
"""The one consumer group of every job stream."""


@dataclass(frozen=True, slots=True)
class QueueKeys:
    """The keys of one queue. The names are those that the scripts' headers use."""

    critical: str  # STREAM  ready and running jobs: i id, b body, h header on re-delivery
    high: str  # STREAM
    medium: str  # STREAM
    low: str  # STREAM
    jobs: str  # HASH    id -> <rank><entry id> | d<rank><header>\n<body>; HLEN = live jobs
    delayed: str  # ZSET    id -> due, ms
    workers: str  # ZSET    consumer -> lease deadline, ms
    roster: str  # HASH    consumer -> when it joined, ms, a blank, JSON of what it tells of itself
    dead: str  # STREAM  dead letters not yet in Postgres; never trimmed unconfirmed
    journal: str  # STREAM  history, an entry per settled batch; bounded
    meta: str  # HASH    flags and counters
    cancel: str  # SET     ids asked to stop while running
    unique: str  # HASH    unique key -> owning id
    bell: str  # LIST    one element at most: a job was delayed that is due first, and soon
    progress: str  # HASH    id -> JSON that a running handler published
    cron: str  # HASH    schedule -> where it stands
    ticks: str  # STREAM  what was decided about the ticks of schedules; bounded
    tag: str

    @classmethod
    def of(cls, namespace: str, queue: str) -> "QueueKeys":
        tag = f"{{{namespace}:{queue}}}"
        streams = {priority.value: f"{tag}:stream:{priority.value}" for priority in PRIORITIES}
        return cls(
            **streams,
            jobs=f"{tag}:jobs",
            delayed=f"{tag}:delayed",
            workers=f"{tag}:workers",
            roster=f"{tag}:roster",
            dead=f"{tag}:dead",
            journal=f"{tag}:journal",
            meta=f"{tag}:meta",
            cancel=f"{tag}:cancel",
            unique=f"{tag}:unique",
            bell=f"{tag}:bell",
            progress=f"{tag}:progress",
            cron=f"{tag}:cron",
            ticks=f"{tag}:ticks",
            tag=tag,
        )

    @property
    def streams(self) -> tuple[str, str, str, str]:
        """The job streams by rank."""
        return (self.critical, self.high, self.medium, self.low)

    def producer(self, producer_id: str) -> str:
        """STRING, TTL: the number and the answer of a producer's last batch."""
        return f"{self.tag}:producer:{producer_id}"

    def noted(self, digest: str) -> str:
        """STRING, TTL: records of ticks with this digest were noted."""
        return f"{self.tag}:noted:{digest}"

    def dedupe(self, idempotency_key: str) -> str:
        """STRING, TTL: a caller's idempotency key -> id and digest."""
        return f"{self.tag}:dedupe:{idempotency_key}"

    def result(self, job_id: str) -> str:
        """STRING, TTL: the kept outcome of a job that asked for it."""
        return f"{self.tag}:result:{job_id}"


@dataclass(frozen=True, slots=True)
class AccessKeys:
    """The keys of API keys, sessions and limits. No queue's name begins with `_`, so no queue has this tag."""

    tag: str
    keys: str  # HASH    key id -> JSON of what never changes, with the SHA-256 of the secret
    revoked: str  # HASH    key id -> revoked from, ms
    used: str  # HASH    key id -> last used, ms
    audit: str  # STREAM  e: JSON; bounded

    @classmethod
    def of(cls, namespace: str) -> "AccessKeys":
        tag = f"{{{namespace}:_access}}"
        return cls(tag=tag, keys=f"{tag}:keys", revoked=f"{tag}:revoked", used=f"{tag}:used", audit=f"{tag}:audit")

    def session(self, token: str) -> str:
        """STRING, TTL: key id of the session with this token."""
        return f"{self.tag}:session:{_digest(token)}"

    def bucket(self, name: str) -> str:
        """STRING, TTL: when a token bucket will be full, µs."""
        return f"{self.tag}:bucket:{_digest(name)}"

    def answer(self, idempotency_key: str) -> str:
        """HASH, TTL: digest of a request, and its status and body once they are known."""
        return f"{self.tag}:answer:{_digest(idempotency_key)}"


@dataclass(frozen=True, slots=True)
class ScheduleKeys:
    """The keys of schedules as they are defined, where there is no Postgres. No queue has this tag, either."""

    definitions: str  # HASH    name -> <version>\n<JSON>
    revision: str  # STRING  another number after every change

    @classmethod
    def of(cls, namespace: str) -> "ScheduleKeys":
        tag = f"{{{namespace}:_schedules}}"
        return cls(definitions=f"{tag}:definitions", revision=f"{tag}:revision")


def _digest(text: str) -> str:
    """Callers' text in a key's name: of one length, and without secrets or odd characters."""
    return sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def queue_names(namespace: str) -> str:
    """SET: the names of all queues. In a slot of its own, and rebuilt by whoever uses a queue."""
    return f"{namespace}:queues"
