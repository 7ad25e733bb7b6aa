"""Settings: frozen sections, read from the environment and a TOML file, checked at start.

Order: what is passed by hand (a CLI flag), then the environment, then the file, then the default.
The file is `jobqueue.toml` in the working directory, or what `JOBQUEUE_CONFIG` names:

    [worker]
    concurrency = 20
    shutdown_timeout = "1m"
"""

import dataclasses
import os
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from datetime import timedelta
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

from jobqueue.clock import format_duration, parse_duration
from jobqueue.durability import LOCAL, Durability, read_durability
from jobqueue.errors import ConfigError, InvalidJob
from jobqueue.job import check_name

Parse = Callable[[str], Any]
_WHOLE: Final = re.compile(r"[+-]?[0-9]{1,20}")
FILE_VARIABLE: Final = "JOBQUEUE_CONFIG"
DEFAULT_FILE: Final = "jobqueue.toml"


def _duration(at_least: timedelta, at_most: timedelta = timedelta(days=3650)) -> Parse:
    def parse(text: str) -> timedelta:
        value = parse_duration(text)
        if not at_least <= value <= at_most:
            raise ValueError(f"must be from {format_duration(at_least)} to {format_duration(at_most)}, got {text!r}")
        return value

    return parse


def _whole(at_least: int, at_most: int) -> Parse:
    def parse(text: str) -> int:
        if not _WHOLE.fullmatch(text.strip()):
            raise ValueError(f"must be a whole number, got {text!r}")
        value = int(text)
        if value < at_least:
            raise ValueError(f"must be at least {at_least}, got {text!r}")
        if value > at_most:
            raise ValueError(f"must be at most {at_most}, got {text!r}")
        return value

    return parse


def _one_of(*allowed: str) -> Parse:
    def parse(text: str) -> str:
        if text.lower() not in allowed:
            raise ValueError(f"must be one of {', '.join(allowed)}, got {text!r}")
        return text.lower()

    return parse


def _flag(text: str) -> bool:
    return bool(_one_of("true", "false", "1", "0", "yes", "no")(text) in ("true", "1", "yes"))


def _names(text: str) -> tuple[str, ...]:
    names = tuple(part.strip() for part in text.split(",") if part.strip())
    if not names:
        raise ValueError("must name at least one queue, e.g. critical,default,low")
    for name in names:
        _name(name)
    if len(set(names)) != len(names):
        raise ValueError(f"names a queue twice, got {text!r}")
    return names


def _words(rule: "re.Pattern[str]", example: str) -> Parse:
    """A list of words, which may be empty."""

    def parse(text: str) -> tuple[str, ...]:
        words = tuple(part.strip().lower() for part in text.split(",") if part.strip())
        for word in words:
            if not rule.fullmatch(word):
                raise ValueError(f"must be words such as {example}, got {word!r}")
        return words

    return parse


def _name(text: str) -> str:
    try:
        return check_name("queue", text)
    except InvalidJob as error:
        raise ValueError(str(error)) from error


def _durability(text: str) -> Durability:
    try:
        return read_durability(text)
    except InvalidJob as error:
        raise ValueError(str(error).removeprefix("durability ")) from error


def _namespace(text: str) -> str:
    if not (text.isidentifier() and text.isascii() and len(text) <= 32):
        raise ValueError(f"must be 1 to 32 letters, digits and _, not beginning with a digit, got {text!r}")
    return text


def _url(*schemes: str) -> Parse:
    def parse(text: str) -> str:
        if not text.lower().startswith(tuple(f"{scheme}://" for scheme in schemes)):
            raise ValueError(
                f"must begin with {' or '.join(f'{scheme}://' for scheme in schemes)}, got {mask_url(text)!r}"
            )
        if not is_url(text):
            raise ValueError(
                f"is no valid URL: {mask_url(text)!r}; write e.g. {schemes[0]}://user:password@host:1234/0, "
                f"with @ : / ? # in a password as %40 %3A %2F %3F %23"
            )
        return text

    return parse


def is_url(text: str) -> bool:
    """Whether *text* splits into its parts, each host with a port that is one. Never tells why not:
    the reasons that urllib gives hold pieces of the password."""
    if not text.isprintable() or " " in text:
        return False
    try:
        parts = urlsplit(text)
        hosts = parts.netloc.rpartition("@")[2].split(",")  # Postgres takes several
        for host in hosts:
            urlsplit(f"//{host}").port  # noqa: B018 - reading it is the check
    except ValueError:
        return False
    return "@" not in parts.path + parts.fragment


_REDIS_SCHEMES: Final = (
    "redis",
    "rediss",
    "unix",
    "redis+sentinel",
    "rediss+sentinel",
    "redis+cluster",
    "rediss+cluster",
)
_POSTGRES_SCHEMES: Final = ("postgresql", "postgres")


def _about(env: str, parse: Parse, doc: str, *, secret: bool = False) -> Mapping[str, Any]:
    return {"env": env, "parse": parse, "doc": doc, "secret": secret}


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisSettings:
    """Where the broker is and how patient we are with it."""

    url: str = field(
        default="redis://localhost:6379",
        repr=False,
        metadata=_about("REDIS_URL", _url(*_REDIS_SCHEMES), "Redis or Valkey", secret=True),
    )
    namespace: str = field(default="jq", metadata=_about("JOBQUEUE_NAMESPACE", _namespace, "first part of every key"))
    timeout: timedelta = field(
        default=timedelta(seconds=5),
        metadata=_about(
            "JOBQUEUE_REDIS_TIMEOUT",
            _duration(timedelta(milliseconds=100), timedelta(minutes=1)),
            "longest wait for a connection or a reply",
        ),
    )
    enqueue_timeout: timedelta = field(
        default=timedelta(seconds=10),
        metadata=_about(
            "JOBQUEUE_ENQUEUE_TIMEOUT",
            _duration(timedelta(milliseconds=100), timedelta(minutes=5)),
            "after this long an enqueue without an answer raises",
        ),
    )
    durability: Durability = field(
        default=LOCAL,
        metadata=_about(
            "JOBQUEUE_DURABILITY",
            _durability,
            "how safe a job is before its enqueue is answered: local, fsync, replicated or replicated:2",
        ),
    )
    lease: timedelta = field(
        default=timedelta(seconds=15),
        metadata=_about(
            "JOBQUEUE_LEASE",
            _duration(timedelta(milliseconds=300), timedelta(hours=1)),
            "a worker not heard of for so long is dead; the same in every process",
        ),
    )
    journal_max_bytes: int = field(
        default=256 * 1024 * 1024,
        metadata=_about(
            "JOBQUEUE_JOURNAL_MAX_BYTES",
            _whole(1024, 2**40),
            "history waiting for Postgres beyond this is dropped, oldest first, and counted",
        ),
    )
    allow_eviction: bool = field(
        default=False,
        metadata=_about("JOBQUEUE_ALLOW_EVICTION", _flag, "start although Redis may evict keys: jobs can vanish"),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class PostgresSettings:
    """Where history and dead letters are kept; without a URL there is no history."""

    url: str | None = field(
        default=None,
        repr=False,
        metadata=_about(
            "DATABASE_URL", _url(*_POSTGRES_SCHEMES), "Postgres, for history and dead letters", secret=True
        ),
    )
    pool_size: int = field(
        default=4, metadata=_about("JOBQUEUE_POSTGRES_POOL", _whole(1, 100), "connections per process")
    )
    acquire_timeout: timedelta = field(
        default=timedelta(seconds=2),
        metadata=_about(
            "JOBQUEUE_POSTGRES_ACQUIRE_TIMEOUT",
            _duration(timedelta(milliseconds=100), timedelta(minutes=1)),
            "longest wait for a connection",
        ),
    )
    statement_timeout: timedelta = field(
        default=timedelta(seconds=5),
        metadata=_about(
            "JOBQUEUE_POSTGRES_STATEMENT_TIMEOUT",
            _duration(timedelta(milliseconds=100), timedelta(minutes=10)),
            "longest wait for a statement",
        ),
    )
    statement_cache: int = field(
        default=100,
        metadata=_about(
            "JOBQUEUE_POSTGRES_STATEMENT_CACHE",
            _whole(0, 10_000),
            "prepared statements kept; 0 behind a transaction pooler such as pgbouncer",
        ),
    )
    keep_successes: timedelta = field(
        default=timedelta(days=7),
        metadata=_about(
            "JOBQUEUE_KEEP_SUCCESSES", _duration(timedelta(days=1)), "how long completed executions are kept"
        ),
    )
    keep_failures: timedelta = field(
        default=timedelta(days=30),
        metadata=_about(
            "JOBQUEUE_KEEP_FAILURES",
            _duration(timedelta(days=1)),
            "how long failed executions and ticks of schedules are kept",
        ),
    )
    keep_payload: int = field(
        default=4096,
        metadata=_about(
            "JOBQUEUE_KEEP_PAYLOAD",
            _whole(0, 1024 * 1024),
            "payloads up to so many bytes stay in the history of ended jobs, shown and searched; 0 keeps none",
        ),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSettings:
    """How a worker runs jobs."""

    queues: tuple[str, ...] = field(
        default=("critical", "default", "low"),
        metadata=_about("WORKER_QUEUES", _names, "queues, served strictly in this order"),
    )
    concurrency: int = field(
        default=10, metadata=_about("WORKER_CONCURRENCY", _whole(1, 10_000), "jobs at once in one process")
    )
    shutdown_timeout: timedelta = field(
        default=timedelta(seconds=30),
        metadata=_about(
            "WORKER_SHUTDOWN_TIMEOUT",
            _duration(timedelta(0), timedelta(days=1)),
            "how long running jobs may go on after SIGTERM",
        ),
    )
    job_timeout: timedelta = field(
        default=timedelta(minutes=5),
        metadata=_about(
            "JOB_DEFAULT_TIMEOUT", _duration(timedelta(milliseconds=1)), "timeout of tasks and jobs that set none"
        ),
    )
    cancel_grace: timedelta = field(
        default=timedelta(seconds=5),
        metadata=_about(
            "JOBQUEUE_CANCEL_GRACE",
            _duration(timedelta(0), timedelta(hours=1)),
            "a handler that ignores its cancellation for so long is left behind",
        ),
    )
    max_crashes: int = field(
        default=3,
        metadata=_about("JOBQUEUE_MAX_CRASHES", _whole(1, 100), "a job whose worker died so often is a dead letter"),
    )
    max_block: timedelta = field(
        default=timedelta(seconds=60),
        metadata=_about(
            "JOBQUEUE_MAX_BLOCK",
            _duration(timedelta(milliseconds=300), timedelta(days=1)),
            "an event loop blocked for longer loses its lease",
        ),
    )
    reap_interval: timedelta = field(
        default=timedelta(seconds=5),
        metadata=_about(
            "JOBQUEUE_REAP_INTERVAL",
            _duration(timedelta(milliseconds=100), timedelta(minutes=5)),
            "how often dead workers are looked for; at most a third of a lease",
        ),
    )


_HOST: Final = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?|\[[0-9a-f:]+\]")
_ORIGIN: Final = re.compile(r"https?://([a-z0-9.-]+|\[[0-9a-f:]+\])(:[0-9]{1,5})?")
_FIELD: Final = re.compile(r"[a-z0-9_.-]{1,64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiSettings:
    """How the HTTP API and the dashboard are served."""

    host: str = field(
        default="127.0.0.1",
        metadata=_about("API_HOST", str, "address to listen on; anything but loopback needs API keys"),
    )
    port: int = field(
        default=8080, metadata=_about("API_PORT", _whole(0, 65_535), "port to listen on; 0 takes a free one")
    )
    allowed_hosts: tuple[str, ...] = field(
        default=(),
        metadata=_about(
            "API_ALLOWED_HOSTS",
            _words(_HOST, "jobs.example.org"),
            "names under which it may be asked for, besides loopback and API_HOST; they need API keys",
        ),
    )
    cors_origins: tuple[str, ...] = field(
        default=(),
        metadata=_about(
            "API_CORS_ORIGINS",
            _words(_ORIGIN, "https://shop.example.org"),
            "other sites whose pages may call it, with a key",
        ),
    )
    max_body: int = field(
        default=8 * 1024 * 1024,
        metadata=_about("API_MAX_BODY", _whole(1024, 256 * 1024 * 1024), "largest request body, bytes"),
    )
    timeout: timedelta = field(
        default=timedelta(seconds=30),
        metadata=_about(
            "API_TIMEOUT",
            _duration(timedelta(milliseconds=100), timedelta(minutes=10)),
            "longest time for a request, from its first byte to its answer",
        ),
    )
    max_connections: int = field(
        default=1000, metadata=_about("API_MAX_CONNECTIONS", _whole(1, 100_000), "connections at once")
    )
    mask_fields: tuple[str, ...] = field(
        default=("password", "secret", "token", "api_key", "authorization"),
        metadata=_about(
            "API_MASK_FIELDS",
            _words(_FIELD, "password"),
            "fields of payloads, results and progress that are shown as ***",
        ),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeSettings:
    """Where workers and schedulers serve `/health`, `/ready` and `/metrics`."""

    host: str = field(
        default="127.0.0.1", metadata=_about("JOBQUEUE_PROBE_HOST", str, "address of the probe; it needs no key")
    )
    port: int | None = field(
        default=None,
        metadata=_about("JOBQUEUE_PROBE_PORT", _whole(0, 65_535), "port of the probe; 0 takes a free one"),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class LogSettings:
    """How the command line logs; the library never configures logging."""

    level: str = field(
        default="info",
        metadata=_about("LOG_LEVEL", _one_of("debug", "info", "warning", "error"), "least level that is shown"),
    )
    format: str = field(
        default="console", metadata=_about("LOG_FORMAT", _one_of("json", "console"), "json lines, or text for people")
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class AppSettings:
    """Where the tasks are."""

    app: str | None = field(
        default=None, metadata=_about("JOBQUEUE_APP", str, "module:registry of your tasks, as for the flag -A")
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All sections. `Settings.load()` reads them; `dataclasses.replace` changes one."""

    redis: RedisSettings = field(default_factory=RedisSettings)
    postgres: PostgresSettings = field(default_factory=PostgresSettings)
    worker: WorkerSettings = field(default_factory=WorkerSettings)
    api: ApiSettings = field(default_factory=ApiSettings)
    probe: ProbeSettings = field(default_factory=ProbeSettings)
    log: LogSettings = field(default_factory=LogSettings)
    app: AppSettings = field(default_factory=AppSettings)

    def __post_init__(self) -> None:
        # A late tick must not look like a gap of half a lease, which grants an amnesty.
        if self.worker.reap_interval > self.redis.lease / 3:
            raise ConfigError(
                f"JOBQUEUE_REAP_INTERVAL ({format_duration(self.worker.reap_interval)}) must be at most a third of "
                f"JOBQUEUE_LEASE ({format_duration(self.redis.lease)}); lower it or raise the lease"
            )

    @classmethod
    def load(
        cls,
        environment: Mapping[str, str] | None = None,
        *,
        file: Path | None = None,
        overrides: Mapping[str, object] | None = None,
    ) -> "Settings":
        """Read every setting; *overrides* are keyed by variable name and win over all.

        Raises:
            ConfigError: a value is wrong; the message names the variable, the value and what is allowed.
        """
        environment = os.environ if environment is None else environment
        sources = _Sources(_read_file(file, environment), environment, overrides or {})
        return cls(
            redis=sources.read("redis", RedisSettings),
            postgres=sources.read("postgres", PostgresSettings),
            worker=sources.read("worker", WorkerSettings),
            api=sources.read("api", ApiSettings),
            probe=sources.read("probe", ProbeSettings),
            log=sources.read("log", LogSettings),
            app=sources.read("app", AppSettings),
        )


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting as people meet it: its variable, its place in the file, its default, what it does."""

    env: str
    section: str
    name: str
    default: object
    doc: str
    secret: bool


def _all_settings() -> tuple[Setting, ...]:
    defaults = Settings()
    return tuple(
        Setting(
            env=each.metadata["env"],
            section=section.name,
            name=each.name,
            default=each.default,
            doc=each.metadata["doc"],
            secret=each.metadata["secret"],
        )
        for section in fields(defaults)
        for each in fields(getattr(defaults, section.name))
    )


SETTINGS: Final = _all_settings()


def show(setting: Setting, settings: Settings) -> str:
    """A setting's value as one would write it, secrets masked."""
    value = getattr(getattr(settings, setting.section), setting.name)
    return written(value, secret=setting.secret)


def written(value: object, *, secret: bool = False) -> str:
    """A value as one would write it into the environment."""
    match value:
        case None:
            return ""
        case bool():
            return str(value).lower()
        case timedelta():
            return format_duration(value)
        case tuple():
            return ",".join(value)
        case str() if secret:
            return mask_url(value)
        case _:
            return str(value)


def mask_url(url: str) -> str:
    """A URL without its password and its query, fit for logs. Where it cannot tell which part is
    the password, as with one that holds a bare `@`, `/` or `#`, it shows the scheme only."""
    if not is_url(url) or "@" in urlsplit(url).query:
        scheme, there, _ = url.partition("://")
        return f"{scheme}://***" if there and scheme.isalnum() else "***"
    place, query, _ = url.partition("#")[0].partition("?")
    credentials, at, _ = urlsplit(url).netloc.rpartition("@")
    user, colon, _ = credentials.partition(":")
    if at and colon:
        place = place.replace(f"//{credentials}@", f"//{user}:***@", 1)
    return place + (f"{query}***" if query else "")


_Section = TypeVar(
    "_Section", RedisSettings, PostgresSettings, WorkerSettings, ApiSettings, ProbeSettings, LogSettings, AppSettings
)


@dataclass(frozen=True, slots=True)
class _Sources:
    file: Mapping[str, Any]
    environment: Mapping[str, str]
    overrides: Mapping[str, object]

    def read(self, section: str, kind: type[_Section]) -> _Section:
        values: dict[str, Any] = {}
        for each in fields(kind):
            where, given = self._given(section, each)
            if given is not None:
                values[each.name] = _parse(where, each, given)
        return kind(**values)

    def _given(self, section: str, setting: "dataclasses.Field[Any]") -> tuple[str, object]:
        """Where a setting is given, and as what; None where it is not."""
        env: str = setting.metadata["env"]
        given = self.overrides.get(env)
        if given is None:
            given = self.environment.get(env) or None
        if given is not None:
            return env, given
        return f"{section}.{setting.name}", self.file.get(section, {}).get(setting.name)


def _parse(where: str, setting: "dataclasses.Field[Any]", given: object) -> Any:
    text = ",".join(map(str, given)) if isinstance(given, list | tuple) else str(given)
    if isinstance(given, timedelta):
        text = format_duration(given)
    try:
        return setting.metadata["parse"](text)
    except ValueError as error:
        raise ConfigError(f"{where} {error}") from None


def _read_file(file: Path | None, environment: Mapping[str, str]) -> Mapping[str, Any]:
    named = file or (Path(environment[FILE_VARIABLE]) if environment.get(FILE_VARIABLE) else None)
    path = named or Path(DEFAULT_FILE)
    try:
        content: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        if named is None:
            return {}
        told = "" if file else f" (named by {FILE_VARIABLE})"
        raise ConfigError(f"there is no settings file {path}{told}") from error
    except (OSError, ValueError) as error:  # also what is no UTF-8, no TOML, no path
        raise ConfigError(f"cannot read {path}: {error}") from error
    _refuse_unknown(path, content)
    return content


def _refuse_unknown(path: Path, content: Mapping[str, Any]) -> None:
    known = {(setting.section, setting.name) for setting in SETTINGS}
    for section, table in content.items():
        if not isinstance(table, dict):
            raise ConfigError(f"{path}: {section!r} must be a section such as [worker]")
        for name in table:
            if (section, name) not in known:
                raise ConfigError(f"{path}: no setting {section}.{name}; `jobqueue config show` lists them all")
