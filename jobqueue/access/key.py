"""What a key looks like: made, read, replaced. Nothing here talks to anybody.

jq_live_7Hk2mQ9x_w8Jm...43 characters...Zt4PqR1c
│  │    │        │                      └ CRC-32 of all before it, 6 characters
│  │    │        └ secret: 43 characters of base62 are 256 bits
│  │    └ id: for lookups, lists and logs; no secret
│  └ live or test
└ so that secret scanners find it
"""

import re
import secrets
import string
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from hashlib import sha256
from math import isfinite
from typing import Final, Literal, NamedTuple, get_args
from zlib import crc32

from jobqueue.access.base import ApiKey
from jobqueue.access.scope import SCOPES_OF, Kind, Scope
from jobqueue.errors import ConfigError
from jobqueue.job import MAX_DURATION

Environment = Literal["live", "test"]

KEY_REGEX: Final = r"\bjq_(?:live|test)_[0-9A-Za-z]{8}_[0-9A-Za-z]{49}\b"
"""Finds keys in text; for secret scanners, and for whoever wants to keep them out of logs."""

_WHOLE: Final = re.compile(r"jq_(?:live|test)_([0-9A-Za-z]{8})_[0-9A-Za-z]{43}([0-9A-Za-z]{6})")
_ID: Final = re.compile(r"[0-9A-Za-z]{8}")
_LENGTH: Final = 66
_ALPHABET: Final = string.digits + string.ascii_uppercase + string.ascii_lowercase
_ID_LENGTH: Final = 8
_SECRET_LENGTH: Final = 43  # 62 ** 43 > 2 ** 256
_CHECK_LENGTH: Final = 6  # 62 ** 6 > 2 ** 32
_MOST_QUEUES: Final = 50
LEAST_RATE: Final = 0.001
"""Requests a second; one in 17 minutes."""
MOST_RATE: Final = 100_000
_NAME: Final = re.compile(r"[^\x00-\x1f\x7f]{1,100}")
_PATTERN: Final = re.compile(r"\*|[A-Za-z0-9][A-Za-z0-9_.:\-]{0,63}\*?")


class Presented(NamedTuple):
    """A text that is formed as a key."""

    id: str
    digest: bytes
    """SHA-256 of the whole text."""


def read(text: str) -> Presented | None:
    """A text as a key, whether there is such a key or not; None for any other. Takes any text and raises nothing."""
    if len(text) != _LENGTH:
        return None
    match = _WHOLE.fullmatch(text)
    if match is None or _check(text[:-_CHECK_LENGTH]) != match[2]:
        return None
    return Presented(match[1], _digest(text))


def mint(
    name: str,
    *,
    kind: Kind,
    created_by: str,
    now: datetime,
    scopes: Collection[Scope] | None = None,
    queues: Sequence[str] = ("*",),
    env: Environment = "live",
    expires: timedelta | None = None,
    rate: float | None = None,
) -> tuple[str, ApiKey]:
    """A new secret, and what is to be kept of it. Without *scopes*, those of its kind.

    Raises:
        ConfigError: an option is wrong.
    """
    _check_options(name, scopes, queues, env, expires, rate)
    key_id = _random(_ID_LENGTH)
    text = f"jq_{env}_{key_id}_{_random(_SECRET_LENGTH)}"
    secret = text + _check(text)
    return secret, ApiKey(
        id=key_id,
        name=name,
        kind=kind,
        scopes=SCOPES_OF[kind] if scopes is None else frozenset(scopes),
        queues=tuple(dict.fromkeys(queues)),
        digest=_digest(secret),
        created_at=now,
        created_by=created_by,
        expires_at=None if expires is None else now + expires,
        rate=rate,
    )


def replace(
    key: ApiKey, *, created_by: str, now: datetime, env: Environment = "live", overlap: timedelta = timedelta(0)
) -> tuple[str, ApiKey]:
    """A new secret with the rights of *key*, and its whole lifetime again. *overlap*: how long both are to be good.

    Raises:
        ConfigError: *key* is revoked or has expired, and is not brought back to life; or *overlap* is too long.
    """
    if not timedelta(0) <= overlap <= MAX_DURATION:
        raise ConfigError(f"an overlap is from 0 to {MAX_DURATION.days} days, got {overlap}")
    why = void(key, now)
    if why is not None or key.revoked_at is not None:
        raise ConfigError(
            f"key {key.id} cannot be rotated: it {why or 'is to be revoked'}; "
            f"make a new one with `jobqueue keys create`"
        )
    return mint(
        key.name,
        kind=key.kind,
        scopes=key.scopes,
        queues=key.queues,
        env=env,
        created_by=created_by,
        expires=None if key.expires_at is None else key.expires_at - key.created_at,
        rate=key.rate,
        now=now,
    )


def void(key: ApiKey, now: datetime) -> str | None:
    """Why *key* is good for nothing at this instant; None: it is good."""
    if key.revoked_at is not None and key.revoked_at <= now:
        return "is revoked"
    if key.expires_at is not None and key.expires_at <= now:
        return "has expired"
    return None


def is_id(text: str) -> bool:
    """Whether a key could have this id."""
    return _ID.fullmatch(text) is not None


def _digest(secret: str) -> bytes:
    return sha256(secret.encode("ascii")).digest()


def _check(text: str) -> str:
    """The CRC-32 of *text* in base62, as wide as the largest."""
    number, digits = crc32(text.encode("ascii")), ""
    for _ in range(_CHECK_LENGTH):
        number, digit = divmod(number, len(_ALPHABET))
        digits = _ALPHABET[digit] + digits
    return digits


def _random(length: int) -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(length))


def _check_options(
    name: str,
    scopes: Collection[Scope] | None,
    queues: Sequence[str],
    env: str,
    expires: timedelta | None,
    rate: float | None,
) -> None:
    if not _NAME.fullmatch(name):
        raise ConfigError(f"a key's name must be 1 to 100 characters without control characters, got {name[:101]!r}")
    if scopes is not None and not scopes:
        raise ConfigError("a key needs at least one scope; leave scopes out for those of its kind")
    if not 1 <= len(queues) <= _MOST_QUEUES:
        raise ConfigError(f"a key is for 1 to {_MOST_QUEUES} queues or patterns such as mail.*, got {len(queues)}")
    for pattern in queues:
        if not _PATTERN.fullmatch(pattern):
            raise ConfigError(
                f"{pattern[:80]!r} is neither the name of a queue nor the beginning of one and a *; "
                f"write e.g. mail, mail.* or *"
            )
    if env not in get_args(Environment):
        raise ConfigError(f"a key's environment is live or test, got {env!r}")
    if expires is not None and not timedelta(0) < expires <= MAX_DURATION:
        raise ConfigError(f"a key expires after more than nothing and at most {MAX_DURATION.days} days, got {expires}")
    if rate is not None and not (isfinite(rate) and LEAST_RATE <= rate <= MOST_RATE):
        raise ConfigError(
            f"a key's rate is at least {LEAST_RATE} and at most {MOST_RATE} requests a second, got {rate}"
        )


def known_scopes(names: Collection[str]) -> frozenset[Scope]:
    """The scopes of these names, without those that only a newer jobqueue knows."""
    known = set(Scope)
    return frozenset(Scope(name) for name in names if name in known)
