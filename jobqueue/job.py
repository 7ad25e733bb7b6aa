"""A job: one request to run a task. Pure data; it knows no queue, broker or worker.

The wire format is a JSON object, decoded once and with the payload left raw:

    {"type":"email.send","payload":{"to":"ada@example.org"}}

Its version `v` is written from 2 on: a body without one is of version 1, and a queued job 6 bytes smaller.
`max_retries`, `timeout_ms`, `result_ttl_ms`, `headers` and `created_ms` stand in it only when set.
Queue, priority and the counters of attempts live beside the body, so that no retry ever rewrites it;
fields that this version does not know survive every round trip.
"""

import math
import os
import re
import time
import uuid
from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from types import MappingProxyType
from typing import Annotated, Any, Final, Self

import msgspec

from jobqueue.clock import from_ms, to_ms
from jobqueue.errors import InvalidJob

WIRE_VERSION: Final = 1
MAX_PAYLOAD_BYTES: Final = 256 * 1024
HARD_MAX_PAYLOAD_BYTES: Final = 1024 * 1024
MAX_DEPTH: Final = 64
MAX_HEADERS_BYTES: Final = 8 * 1024
MAX_KEY_CHARS: Final = 200
MAX_DURATION: Final = timedelta(days=3650)
SCHEDULE_HEADER: Final = "jobqueue-schedule"
"""Header of a job that a schedule made: the schedule's name."""
TICK_HEADER: Final = "jobqueue-tick"
"""Header of a job of a tick: the tick, ISO 8601 in UTC."""

_LONG_DIGITS: Final = 300
_LONG_NUMBER = re.compile(rb"[0-9]{%d}" % _LONG_DIGITS)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,63}")
_ALL_BUT_BRACKETS = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|[^\[\]{}"]+')
_LAST_MS: Final = 253_402_300_799_999  # the end of the year 9999, the last that a datetime can say
_VARIANT: Final = {f"{digit:x}": "89ab"[digit & 3] for digit in range(16)}
_NO_HEADERS: Final[Mapping[str, str]] = MappingProxyType({})


class Priority(StrEnum):
    """The four priorities of a queue, in the order in which they are served."""

    CRITICAL = "critical"
    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"

    @property
    def rank(self) -> int:
        """0 for critical, served first, to 3 for low."""
        return _RANK[self]

    @classmethod
    def parse(cls, value: object) -> "Priority":
        """Accept a priority, its name, or a number from 0 to 9, where 9 is the most urgent.

        8 and 9 are critical, 6 and 7 high, 3 to 5 medium, 0 to 2 low.
        """
        if isinstance(value, cls):
            return value
        if isinstance(value, str) and value in _BY_NAME:
            return _BY_NAME[value]
        if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 9:
            return PRIORITIES[0 if value >= 8 else 1 if value >= 6 else 2 if value >= 3 else 3]
        raise InvalidJob(f"priority must be critical, high, medium, low or a number 0 to 9, got {_short(value)}")


PRIORITIES: Final = tuple(Priority)
_RANK: Final = {priority: rank for rank, priority in enumerate(PRIORITIES)}
_BY_NAME: Final = {priority.value: priority for priority in PRIORITIES}


class JobState(StrEnum):
    """Where a job can be in its life."""

    SCHEDULED = "scheduled"
    QUEUED = "queued"
    RUNNING = "running"
    RETRYING = "retrying"
    COMPLETED = "completed"
    DEAD = "dead"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


_FIELDS: Final = (
    "type",
    "payload_json",
    "id",
    "queue",
    "priority",
    "max_retries",
    "timeout",
    "expires",
    "unique_key",
    "result_ttl",
    "headers",
    "created_ms",
    "_extra",
)


class _Draft:
    """The fields of a job, while they can be set.

    Where jobs are made in numbers, a draft is filled and then becomes a `Job` by its class: 0.2 µs. To set
    the fields of what is immutable already costs 1.3.
    """

    __slots__ = (*_FIELDS, "_tail")

    type: str
    payload_json: bytes
    id: str
    queue: str
    priority: Priority
    max_retries: int | None
    timeout: timedelta | None
    expires: timedelta | None
    unique_key: str | None
    result_ttl: timedelta | None
    headers: Mapping[str, str]
    created_ms: int
    _extra: Mapping[str, msgspec.Raw]
    _tail: bytes | None
    """What stands behind the payload on the wire, once it was needed."""


class Job(_Draft):
    """One request to run the task named *type* with the arguments in *payload*. Immutable.

    The payload is encoded here, once: what is refused later is refused now, and changing the
    mapping afterwards changes nothing.

    Args:
        type: the task's name.
        payload: the arguments by name; anything JSON, plus dates, decimals, UUIDs, enums,
            dataclasses and pydantic models.
        id: a UUID of your own; otherwise a new UUIDv7.
        queue: name of the queue.
        priority: a `Priority`, its name, or 0 to 9 (9 most urgent).
        max_retries: overrides the task's retry policy.
        timeout: longest run of one attempt; overrides the task's.
        expires: counted from enqueue; a job not started by then is dropped as `expired`.
        unique_key: at most one live job of the queue holds a key.
        result_ttl: keep the outcome in Redis for so long after the end.
        headers: short strings that travel along, such as a trace context.

    Raises:
        InvalidJob: something was refused; the message says what, and what is allowed.
    """

    __slots__ = ()

    def __init__(
        self,
        type: str,
        payload: Mapping[str, Any] | None = None,
        *,
        id: str | uuid.UUID | None = None,
        queue: str = "default",
        priority: Priority | str | int = Priority.MEDIUM,
        max_retries: int | None = None,
        timeout: timedelta | None = None,
        expires: timedelta | None = None,
        unique_key: str | None = None,
        result_ttl: timedelta | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        made_id, made_ms = _new_id() if id is None else (canonical_id(id), None)
        _fill(
            self,
            type=check_name("task", type),
            payload_json=encode_payload(type, {} if payload is None else payload),
            id=made_id,
            queue=check_name("queue", queue),
            priority=Priority.parse(priority),
            max_retries=_check_count(max_retries),
            timeout=_check_duration("timeout", timeout),
            expires=_check_duration("expires", expires),
            unique_key=check_key("unique_key", unique_key),
            result_ttl=_check_duration("result_ttl", result_ttl),
            headers=_check_headers(headers),
            created_ms=made_ms or _id_ms(made_id) or time.time_ns() // 1_000_000,
            extra={},
        )

    def another(self, payload_json: bytes) -> "Job":
        """A new job like this one, with a payload that is JSON already, and checked; for `Task.job`.

        This one must have an id that was made for it: what stands behind the payload is the same then.
        """
        job = _Draft()
        job.id, job.created_ms = _new_id()
        job.payload_json = payload_json
        job.type = self.type
        job.queue = self.queue
        job.priority = self.priority
        job.max_retries = self.max_retries
        job.timeout = self.timeout
        job.expires = self.expires
        job.unique_key = self.unique_key
        job.result_ttl = self.result_ttl
        job.headers = self.headers
        job._extra = self._extra
        job._tail = self._tail or self._behind_payload()
        job.__class__ = Job
        return job  # type: ignore[return-value]

    @property
    def payload(self) -> dict[str, Any]:
        """The arguments as plain JSON values; a new dict each time.

        Raises:
            InvalidJob: the job came from the wire, and its payload cannot be read.
        """
        try:
            payload: dict[str, Any] = msgspec.json.decode(self.payload_json)
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            raise InvalidJob(f"payload of {self.type!r} cannot be read: {error}") from error
        return payload

    @property
    def created_at(self) -> datetime:
        """When the job was made, by its producer's clock."""
        return from_ms(self.created_ms)

    def replace(self, **options: Any) -> "Job":
        """The same job, same id, with some of its options, its `type` or its `payload` changed."""
        unknown = options.keys() - _REPLACEABLE
        if unknown:
            raise InvalidJob(f"a job has no option {min(unknown)!r}; it has {', '.join(sorted(_REPLACEABLE))}")
        new = Job(
            options.get("type", self.type),
            {},
            id=options.get("id", self.id),
            queue=options.get("queue", self.queue),
            priority=options.get("priority", self.priority),
            max_retries=options.get("max_retries", self.max_retries),
            timeout=options.get("timeout", self.timeout),
            expires=options.get("expires", self.expires),
            unique_key=options.get("unique_key", self.unique_key),
            result_ttl=options.get("result_ttl", self.result_ttl),
            headers=options.get("headers", self.headers),
        )
        payload = options.get("payload")
        _set(new, "payload_json", self.payload_json if payload is None else encode_payload(new.type, payload))
        _set(new, "created_ms", self.created_ms)
        _set(new, "_extra", self._extra)
        return new

    def with_payload(self, payload_json: bytes) -> "Job":
        """The same job with another payload, which is JSON already; everything else it carries stays.

        Raises:
            InvalidJob: it is no JSON object, or not one that a job may have.
        """
        try:
            payload = msgspec.json.decode(payload_json)
        except _UNREADABLE as error:
            raise InvalidJob(f"payload of {self.type!r} is not JSON: {error}") from error
        if not isinstance(payload, dict):
            raise InvalidJob(f"payload of {self.type!r} must be a JSON object, got {_short(payload)}")
        check_payload(self.type, payload_json.strip(), payload)
        new = Job.from_wire(
            self.to_wire(), id=self.id, queue=self.queue, priority=self.priority, unique_key=self.unique_key
        )
        _set(new, "payload_json", payload_json.strip())
        _set(new, "expires", self.expires)
        return new

    def to_wire(self) -> bytes:
        """The body that travels; `Job.from_wire` reads it back."""
        tail = self._tail or self._behind_payload()
        return b'{"type":"%b","payload":%b%b' % (self.type.encode(), self.payload_json, tail)

    def _behind_payload(self) -> bytes:
        options = self._wire_options()
        tail = b"," + msgspec.json.encode(options)[1:] if options else b"}"
        _set(self, "_tail", tail)
        return tail

    def _wire_options(self) -> dict[str, Any]:
        options: dict[str, Any] = {}
        if self.max_retries is not None:
            options["max_retries"] = self.max_retries
        if self.timeout is not None:
            options["timeout_ms"] = to_ms(self.timeout)
        if self.result_ttl is not None:
            options["result_ttl_ms"] = to_ms(self.result_ttl)
        if self.headers:
            options["headers"] = dict(self.headers)
        if _id_ms(self.id) != self.created_ms:
            options["created_ms"] = self.created_ms
        options.update(self._extra)
        return options

    @classmethod
    def from_wire(
        cls,
        body: bytes,
        *,
        id: str,
        queue: str,
        priority: Priority,
        unique_key: str | None = None,
    ) -> Self:
        """Read a body back with everything it carries, known or not.

        Raises:
            InvalidJob: the body is not a job that this version can read.
        """
        envelope = decode_envelope(body)
        payload = bytes(envelope.payload)
        if not payload.startswith(b"{"):
            raise InvalidJob(f"body is not a job: the payload of {envelope.type!r} is not a JSON object")
        try:
            fields: dict[str, msgspec.Raw] = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
        except _UNREADABLE as error:  # the names of unknown fields are read only now
            raise InvalidJob(f"body is not a job: {error}") from error
        job = cls.__new__(cls)
        _fill(
            job,
            type=envelope.type,
            payload_json=payload,
            id=id,
            queue=queue,
            priority=priority,
            max_retries=envelope.max_retries,
            timeout=_duration(envelope.timeout_ms),
            expires=None,
            unique_key=unique_key,
            result_ttl=_duration(envelope.result_ttl_ms),
            headers=MappingProxyType(envelope.headers) if envelope.headers else _NO_HEADERS,
            created_ms=envelope.created_ms or _id_ms(id) or 0,
            extra={name: raw for name, raw in fields.items() if name not in _KNOWN_FIELDS},
        )
        return job

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"a Job is immutable; use job.replace({name}=...)")

    def __delattr__(self, name: str) -> None:
        raise AttributeError("a Job is immutable")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Job):
            return NotImplemented
        return all(getattr(self, slot) == getattr(other, slot) for slot in _FIELDS)

    def __hash__(self) -> int:
        return hash(self.id)

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (self.to_wire(), self.id, self.queue, self.priority, self.unique_key, self.expires)

    def __repr__(self) -> str:
        return f"Job({self.type!r}, id={self.id!r}, queue={self.queue!r}, priority={self.priority.value!r})"


_DurationMs = Annotated[int, msgspec.Meta(ge=1, le=to_ms(MAX_DURATION))]


class Envelope(msgspec.Struct, frozen=True):
    """The wire format as a worker needs it; the payload stays JSON."""

    type: str
    payload: msgspec.Raw
    v: int = 1
    max_retries: Annotated[int, msgspec.Meta(ge=0)] | None = None
    timeout_ms: _DurationMs | None = None
    result_ttl_ms: _DurationMs | None = None
    headers: dict[str, str] | None = None
    created_ms: Annotated[int, msgspec.Meta(ge=0, le=_LAST_MS)] | None = None


class _Version(msgspec.Struct):
    v: int


_KNOWN_FIELDS: Final = frozenset(Envelope.__struct_fields__)
_REPLACEABLE: Final = frozenset(_FIELDS) - {"_extra", "created_ms", "payload_json"} | {"payload"}
_UNREADABLE: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
_decoder: Final = msgspec.json.Decoder(Envelope)
_version_decoder: Final = msgspec.json.Decoder(_Version)


def decode_envelope(body: bytes) -> Envelope:
    """Decode a body without touching its payload, which may be any JSON yet.

    Raises:
        InvalidJob: no job, or of a newer wire version.
    """
    try:
        envelope = _decoder.decode(body)
    except _UNREADABLE as error:
        _refuse_newer(body)
        raise InvalidJob(f"body is not a job: {error}") from error
    if envelope.v != WIRE_VERSION:
        _refuse_newer(body)
        raise InvalidJob(f"body has wire version {envelope.v}; this jobqueue reads {WIRE_VERSION}")
    # The name goes into logs, metrics and Postgres, which a NUL or a line break would upset.
    if len(envelope.type) > 64 or not _is_name(envelope.type):
        check_name("task", envelope.type)
    return envelope


def _refuse_newer(body: bytes) -> None:
    """A newer body may miss what this version asks for; then "upgrade" is the news, not the missing field."""
    try:
        version = _version_decoder.decode(body).v
    except _UNREADABLE:
        return
    if version > WIRE_VERSION:
        raise InvalidJob(
            f"body has wire version {version}; this jobqueue reads {WIRE_VERSION}: "
            f"upgrade jobqueue here, workers before producers"
        )


def new_id() -> str:
    """A new UUIDv7 (RFC 9562), in its canonical text."""
    return _new_id()[0]


def _new_id() -> tuple[str, int]:
    """A new id, and the time in it, ms."""
    now_ms = time.time_ns() // 1_000_000
    date, chance = f"{now_ms:012x}", os.urandom(10).hex()
    variant = _VARIANT[chance[3]]
    return f"{date[:8]}-{date[8:]}-7{chance[:3]}-{variant}{chance[4:7]}-{chance[7:19]}", now_ms


def canonical_id(value: object) -> str:
    """The canonical text of a UUID given as text or as `uuid.UUID`."""
    try:
        return str(value if isinstance(value, uuid.UUID) else uuid.UUID(value))  # type: ignore[arg-type]
    except (ValueError, TypeError, AttributeError) as error:
        raise InvalidJob(f"job id must be a UUID such as {new_id()}, got {_short(value)}") from error


def check_name(what: str, name: object) -> str:
    """A name fit for keys, logs and URLs, or `InvalidJob`."""
    if isinstance(name, str) and len(name) <= 64 and _is_name(name):
        return name
    raise InvalidJob(
        f"{what} name must be 1 to 64 of A-Z a-z 0-9 _ . : - and begin with a letter or digit, got {_short(name)}"
    )


@lru_cache(maxsize=1024)
def _is_name(name: str) -> bool:
    return _NAME.fullmatch(name) is not None


def check_key(what: str, key: object) -> str | None:
    """An idempotency or unique key: printable text without blanks, or None."""
    if key is None:
        return None
    if isinstance(key, str) and 0 < len(key) <= MAX_KEY_CHARS and key.isprintable() and " " not in key:
        return key
    raise InvalidJob(f"{what} must be 1 to {MAX_KEY_CHARS} printable characters without blanks, got {_short(key)}")


def encode_payload(type: str, payload: object, *, limit: int = MAX_PAYLOAD_BYTES) -> bytes:
    """A payload as JSON bytes, refused where JSON could not say the same thing."""
    if not isinstance(payload, Mapping):
        raise InvalidJob(f"payload of {type!r} must be a mapping of arguments by name, got {_kind(payload)}")
    for key in payload:
        if not isinstance(key, str):
            raise InvalidJob(f"payload of {type!r} must have text keys, got {_short(key)}")
    try:
        encoded = msgspec.json.encode(payload if isinstance(payload, dict) else dict(payload), enc_hook=_encode_foreign)
    except (TypeError, ValueError, OverflowError, RecursionError, msgspec.MsgspecError) as error:
        raise InvalidJob(f"payload of {type!r} is not JSON: {error}") from error
    return check_payload(type, encoded, payload, limit=limit)


def check_payload(type: str, encoded: bytes, payload: object, *, limit: int = MAX_PAYLOAD_BYTES) -> bytes:
    """Check size, depth and numbers of a payload already encoded."""
    if len(encoded) > limit:
        raise InvalidJob(
            f"payload of {type!r} is {len(encoded)} bytes; the limit is {limit}: "
            f"store the data elsewhere and pass a reference"
        )
    # Each walk is skipped for nearly every job: a long number is long, 64 levels need 64 brackets and their ends,
    # and msgspec writes NaN as null.
    if len(encoded) > _LONG_DIGITS and _LONG_NUMBER.search(encoded):
        _refuse_unreadable_number(type, encoded)
    if (
        len(encoded) > 2 * MAX_DEPTH
        and encoded.count(b"[") + encoded.count(b"{") > MAX_DEPTH
        and _depth(encoded) > MAX_DEPTH
    ):
        raise InvalidJob(f"payload of {type!r} is nested deeper than {MAX_DEPTH} levels")
    if b"null" in encoded and _has_nan(payload):
        raise InvalidJob(f"payload of {type!r} holds NaN or an infinity, which JSON cannot say; pass None or text")
    return encoded


def _refuse_unreadable_number(type: str, encoded: bytes) -> None:
    try:
        msgspec.json.decode(encoded)
    except msgspec.MsgspecError as error:
        raise InvalidJob(f"payload of {type!r} holds a number too large to be read back; pass it as text") from error


def _encode_foreign(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    dump = getattr(value, "model_dump", None)
    if dump is None:
        raise TypeError(f"{value.__class__.__name__} has no JSON form")
    return dump(mode="json")


def _depth(encoded: bytes) -> int:
    deepest = depth = 0
    for byte in _ALL_BUT_BRACKETS.sub(b"", encoded):
        if byte in b"[{":
            depth += 1
            deepest = max(deepest, depth)
        else:
            depth -= 1
    return deepest


def _has_nan(payload: object) -> bool:
    """Whether a NaN or an infinity stands anywhere in it, also inside dataclasses and models."""

    def foreign(value: Any) -> Any:
        try:
            return _encode_foreign(value)
        except (TypeError, ValueError):
            return None  # somebody else has encoded it, and knows its form

    try:
        return _not_finite(msgspec.to_builtins(payload, enc_hook=foreign))
    except (TypeError, ValueError, RecursionError, msgspec.MsgspecError):
        return False  # as above: what was encoded is not what we see here


def _not_finite(value: object) -> bool:
    if isinstance(value, float):
        return not math.isfinite(value)
    if isinstance(value, dict):
        return any(map(_not_finite, value.values()))
    if isinstance(value, list | tuple):
        return any(map(_not_finite, value))
    return False


def _check_count(value: object) -> int | None:
    if value is None or (isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 1000):
        return value
    raise InvalidJob(f"max_retries must be a whole number from 0 to 1000, got {_short(value)}")


def _check_duration(what: str, value: object) -> timedelta | None:
    if value is None:
        return None
    if not isinstance(value, timedelta):
        raise TypeError(f"{what} must be a timedelta such as timedelta(seconds=30), got {_short(value)}")
    if not timedelta(milliseconds=1) <= value <= MAX_DURATION:
        raise InvalidJob(f"{what} must be from 1 ms to {MAX_DURATION.days} days, got {value}")
    return value


def _check_headers(headers: object) -> Mapping[str, str]:
    if headers is None:
        return _NO_HEADERS
    if not isinstance(headers, Mapping):
        raise InvalidJob(f"headers must be a mapping of text to text, got {_kind(headers)}")
    if not headers:
        return _NO_HEADERS
    try:
        size = sum(len(key.encode()) + len(value.encode()) for key, value in headers.items())
    except (AttributeError, TypeError, UnicodeEncodeError) as error:
        raise InvalidJob("headers must map text to text, got other values in them") from error
    if size > MAX_HEADERS_BYTES:
        raise InvalidJob(f"headers hold {size} bytes; the limit is {MAX_HEADERS_BYTES}")
    return MappingProxyType(dict(headers))


def _duration(ms: int | None) -> timedelta | None:
    return None if ms is None else timedelta(milliseconds=ms)


def time_of(id: str) -> datetime | None:
    """When an id was made, as a UUIDv7 tells; None for other ids."""
    ms = _id_ms(id)
    return None if ms is None else from_ms(ms)


def _id_ms(id: str) -> int | None:
    """The time in a UUIDv7, ms; None for other ids, and for times beyond the year 9999."""
    if id[14:15] != "7":
        return None
    try:
        ms = int(id[:8] + id[9:13], 16)
    except ValueError:
        return None
    return ms if ms <= _LAST_MS else None


def _kind(value: object) -> str:
    """What *value* is, without what is in it, which may be a secret."""
    return "None" if value is None else f"a value of type {type(value).__name__}"


def _short(value: object) -> str:
    try:
        text = repr(value)
    except Exception:  # a broken __repr__, or a number of more than 4300 digits
        return f"a value of type {type(value).__name__}"
    return text if len(text) <= 100 else text[:97] + "..."


_set = object.__setattr__


def _restore(
    body: bytes, id: str, queue: str, priority: Priority, unique_key: str | None, expires: timedelta | None
) -> Job:
    """A job out of a copy or a pickle."""
    job = Job.from_wire(body, id=id, queue=queue, priority=priority, unique_key=unique_key)
    _set(job, "expires", expires)
    return job


def _fill(
    job: Job,
    *,
    type: str,
    payload_json: bytes,
    id: str,
    queue: str,
    priority: Priority,
    max_retries: int | None,
    timeout: timedelta | None,
    expires: timedelta | None,
    unique_key: str | None,
    result_ttl: timedelta | None,
    headers: Mapping[str, str],
    created_ms: int,
    extra: Mapping[str, msgspec.Raw],
) -> None:
    _set(job, "type", type)
    _set(job, "payload_json", payload_json)
    _set(job, "id", id)
    _set(job, "queue", queue)
    _set(job, "priority", priority)
    _set(job, "max_retries", max_retries)
    _set(job, "timeout", timeout)
    _set(job, "expires", expires)
    _set(job, "unique_key", unique_key)
    _set(job, "result_ttl", result_ttl)
    _set(job, "headers", headers)
    _set(job, "created_ms", created_ms)
    _set(job, "_extra", extra)
    _set(job, "_tail", None)
