import dataclasses
import os
import traceback
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobqueue.clock import format_duration
from jobqueue.config import (
    DEFAULT_FILE,
    FILE_VARIABLE,
    SETTINGS,
    PostgresSettings,
    RedisSettings,
    Setting,
    Settings,
    WorkerSettings,
    mask_url,
    show,
    written,
)
from jobqueue.durability import LOCAL, Durability
from jobqueue.errors import ConfigError

# variable, place in the file, default, another value as written, the same as read
EVERY: list[tuple[str, str, object, str, object]] = [
    ("REDIS_URL", "redis.url", "redis://localhost:6379", "rediss://r:7000/1", "rediss://r:7000/1"),
    ("JOBQUEUE_NAMESPACE", "redis.namespace", "jq", "shop_1", "shop_1"),
    ("JOBQUEUE_REDIS_TIMEOUT", "redis.timeout", timedelta(seconds=5), "100ms", timedelta(milliseconds=100)),
    ("JOBQUEUE_ENQUEUE_TIMEOUT", "redis.enqueue_timeout", timedelta(seconds=10), "5m", timedelta(minutes=5)),
    ("JOBQUEUE_DURABILITY", "redis.durability", LOCAL, "replicated:2", Durability("replicated", 2)),
    ("JOBQUEUE_LEASE", "redis.lease", timedelta(seconds=15), "1h", timedelta(hours=1)),
    ("JOBQUEUE_JOURNAL_MAX_BYTES", "redis.journal_max_bytes", 268_435_456, "1024", 1024),
    ("JOBQUEUE_ALLOW_EVICTION", "redis.allow_eviction", False, "true", True),
    ("DATABASE_URL", "postgres.url", None, "postgresql:///jobs", "postgresql:///jobs"),
    ("JOBQUEUE_POSTGRES_POOL", "postgres.pool_size", 4, "100", 100),
    ("JOBQUEUE_POSTGRES_ACQUIRE_TIMEOUT", "postgres.acquire_timeout", timedelta(seconds=2), "1m", timedelta(minutes=1)),
    (
        "JOBQUEUE_POSTGRES_STATEMENT_TIMEOUT",
        "postgres.statement_timeout",
        timedelta(seconds=5),
        "10m",
        timedelta(minutes=10),
    ),
    ("JOBQUEUE_POSTGRES_STATEMENT_CACHE", "postgres.statement_cache", 100, "0", 0),
    ("JOBQUEUE_KEEP_SUCCESSES", "postgres.keep_successes", timedelta(days=7), "1d", timedelta(days=1)),
    ("JOBQUEUE_KEEP_FAILURES", "postgres.keep_failures", timedelta(days=30), "3650d", timedelta(days=3650)),
    ("JOBQUEUE_KEEP_PAYLOAD", "postgres.keep_payload", 4096, "0", 0),
    ("WORKER_QUEUES", "worker.queues", ("critical", "default", "low"), "a, b", ("a", "b")),
    ("WORKER_CONCURRENCY", "worker.concurrency", 10, "10000", 10_000),
    ("WORKER_SHUTDOWN_TIMEOUT", "worker.shutdown_timeout", timedelta(seconds=30), "0s", timedelta(0)),
    ("JOB_DEFAULT_TIMEOUT", "worker.job_timeout", timedelta(minutes=5), "1ms", timedelta(milliseconds=1)),
    ("JOBQUEUE_CANCEL_GRACE", "worker.cancel_grace", timedelta(seconds=5), "1h", timedelta(hours=1)),
    ("JOBQUEUE_MAX_CRASHES", "worker.max_crashes", 3, "1", 1),
    ("JOBQUEUE_MAX_BLOCK", "worker.max_block", timedelta(seconds=60), "300ms", timedelta(milliseconds=300)),
    ("JOBQUEUE_REAP_INTERVAL", "worker.reap_interval", timedelta(seconds=5), "2.5s", timedelta(seconds=2.5)),
    ("API_HOST", "api.host", "127.0.0.1", "0.0.0.0", "0.0.0.0"),
    ("API_PORT", "api.port", 8080, "0", 0),
    ("API_ALLOWED_HOSTS", "api.allowed_hosts", (), "Jobs.example.org, b", ("jobs.example.org", "b")),
    ("API_CORS_ORIGINS", "api.cors_origins", (), "https://a.example:8443", ("https://a.example:8443",)),
    ("API_MAX_BODY", "api.max_body", 8_388_608, "1024", 1024),
    ("API_TIMEOUT", "api.timeout", timedelta(seconds=30), "10m", timedelta(minutes=10)),
    ("API_MAX_CONNECTIONS", "api.max_connections", 1000, "1", 1),
    (
        "API_MASK_FIELDS",
        "api.mask_fields",
        ("password", "secret", "token", "api_key", "authorization"),
        "iban",
        ("iban",),
    ),
    ("JOBQUEUE_PROBE_HOST", "probe.host", "127.0.0.1", "0.0.0.0", "0.0.0.0"),
    ("JOBQUEUE_PROBE_PORT", "probe.port", None, "9100", 9100),
    ("LOG_LEVEL", "log.level", "info", "WARNING", "warning"),
    ("LOG_FORMAT", "log.format", "console", "json", "json"),
    ("JOBQUEUE_APP", "app.app", None, "shop.jobs:registry", "shop.jobs:registry"),
]
VARIABLES = [row[0] for row in EVERY]


@pytest.fixture(autouse=True)
def working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def value_of(settings: Settings, place: str) -> object:
    section, name = place.split(".")
    return getattr(getattr(settings, section), name)


def toml(place: str, value: str) -> str:
    section, name = place.split(".")
    return f"[{section}]\n{name} = {value}\n"


def refused(environment: dict[str, str], **options: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        Settings.load(environment, **options)
    return str(caught.value)


def test_the_table_of_these_tests_names_every_setting() -> None:
    assert [(each.env, f"{each.section}.{each.name}", each.default) for each in SETTINGS] == [row[:3] for row in EVERY]
    assert all(each.doc for each in SETTINGS)


@pytest.mark.parametrize("row", EVERY, ids=VARIABLES)
def test_a_setting_has_its_default(row: tuple[str, str, object, str, object]) -> None:
    _, place, default, _, _ = row

    assert value_of(Settings.load({}), place) == default
    assert value_of(Settings(), place) == default


@pytest.mark.parametrize("row", EVERY, ids=VARIABLES)
def test_a_setting_is_read_from_the_environment(row: tuple[str, str, object, str, object]) -> None:
    env, place, _, text, value = row

    settings = Settings.load({env: text})

    assert value_of(settings, place) == value
    unchanged = {other[1] for other in EVERY if value_of(settings, other[1]) == other[2]}
    assert unchanged == {other[1] for other in EVERY} - {place}


@pytest.mark.parametrize("row", EVERY, ids=VARIABLES)
def test_a_setting_is_read_from_the_file(row: tuple[str, str, object, str, object], tmp_path: Path) -> None:
    _, place, _, text, value = row
    (tmp_path / DEFAULT_FILE).write_text(toml(place, f'"{text}"'))

    assert value_of(Settings.load({}), place) == value


@pytest.mark.parametrize("row", EVERY, ids=VARIABLES)
def test_a_setting_is_overridden_by_hand(row: tuple[str, str, object, str, object]) -> None:
    env, place, _, text, value = row

    assert value_of(Settings.load({}, overrides={env: text}), place) == value
    assert value_of(Settings.load({}, overrides={env: value}), place) == value


@pytest.mark.parametrize("row", EVERY, ids=VARIABLES)
def test_an_empty_variable_is_as_good_as_none(row: tuple[str, str, object, str, object]) -> None:
    env, place, default, _, _ = row

    assert value_of(Settings.load({env: ""}), place) == default


@pytest.mark.parametrize("row", EVERY, ids=VARIABLES)
def test_a_setting_is_written_as_it_is_read(row: tuple[str, str, object, str, object]) -> None:
    env, place, _, _, value = row

    assert value_of(Settings.load({env: written(value)}), place) == value


def test_by_hand_beats_environment_beats_file_beats_default(tmp_path: Path) -> None:
    by_hand, environment = {"WORKER_CONCURRENCY": 4}, {"WORKER_CONCURRENCY": "3"}
    loaded = [Settings.load({})]
    (tmp_path / DEFAULT_FILE).write_text(toml("worker.concurrency", "2"))

    loaded += [Settings.load({}), Settings.load(environment), Settings.load(environment, overrides=by_hand)]

    assert [settings.worker.concurrency for settings in loaded] == [10, 2, 3, 4]


def test_an_override_that_is_none_overrides_nothing() -> None:
    settings = Settings.load({"WORKER_CONCURRENCY": "3"}, overrides={"WORKER_CONCURRENCY": None})

    assert settings.worker.concurrency == 3


def test_an_empty_variable_leaves_the_file_to_speak(tmp_path: Path) -> None:
    (tmp_path / DEFAULT_FILE).write_text(toml("worker.concurrency", "2"))

    assert Settings.load({"WORKER_CONCURRENCY": ""}).worker.concurrency == 2


def test_the_environment_is_the_process_s_own_unless_another_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    for each in SETTINGS:
        monkeypatch.delenv(each.env, raising=False)
    monkeypatch.delenv(FILE_VARIABLE, raising=False)
    monkeypatch.setitem(os.environ, "WORKER_CONCURRENCY", "77")

    assert Settings.load().worker.concurrency == 77
    assert Settings.load({}).worker.concurrency == 10


# Wrong values

URL_RULE = "write e.g. {}://user:password@host:1234/0, with @ : / ? # in a password as %40 %3A %2F %3F %23"
WHOLE = "must be a whole number, got {!r}"
DURATION = "{!r} is not a duration; write e.g. 500ms, 30s, 5m, 1h, 1h30m or 2d"
REDIS_RULE = "must begin with " + " or ".join(
    f"{scheme}://"
    for scheme in ("redis", "rediss", "unix", "redis+sentinel", "rediss+sentinel", "redis+cluster", "rediss+cluster")
)
WRONG = [
    ("WORKER_CONCURRENCY", "0", "must be at least 1, got '0'"),
    ("WORKER_CONCURRENCY", "-5", "must be at least 1, got '-5'"),
    ("WORKER_CONCURRENCY", "10001", "must be at most 10000, got '10001'"),
    *(
        ("WORKER_CONCURRENCY", text, WHOLE.format(text))
        for text in ("ten", "1.5", "1e3", "1_0", "+-5", "²", " ", "0x10")
    ),
    ("WORKER_CONCURRENCY", "9" * 5000, WHOLE.format("9" * 5000)),
    ("JOBQUEUE_POSTGRES_POOL", "101", "must be at most 100, got '101'"),
    ("JOBQUEUE_MAX_CRASHES", "0", "must be at least 1, got '0'"),
    ("JOBQUEUE_JOURNAL_MAX_BYTES", "1023", "must be at least 1024, got '1023'"),
    *(("WORKER_SHUTDOWN_TIMEOUT", text, DURATION.format(text)) for text in ("30", "-30s", "30 s", "soon")),
    ("WORKER_SHUTDOWN_TIMEOUT", "2d", "must be from 0s to 1d, got '2d'"),
    ("JOBQUEUE_LEASE", "299ms", "must be from 300ms to 1h, got '299ms'"),
    ("JOBQUEUE_LEASE", "61m", "must be from 300ms to 1h, got '61m'"),
    ("JOB_DEFAULT_TIMEOUT", "0s", "must be from 1ms to 3650d, got '0s'"),
    ("JOB_DEFAULT_TIMEOUT", "99999999999d", "'99999999999d' is too long for a duration"),
    ("JOBQUEUE_KEEP_SUCCESSES", "23h", "must be from 1d to 3650d, got '23h'"),
    ("LOG_LEVEL", "loud", "must be one of debug, info, warning, error, got 'loud'"),
    ("LOG_FORMAT", "xml", "must be one of json, console, got 'xml'"),
    ("JOBQUEUE_ALLOW_EVICTION", "maybe", "must be one of true, false, 1, 0, yes, no, got 'maybe'"),
    *(
        ("JOBQUEUE_NAMESPACE", text, f"must be 1 to 32 letters, digits and _, not beginning with a digit, got {text!r}")
        for text in ("1a", "a-b", "a{b}", "é", "a" * 33, "a:b", " ")
    ),
    ("WORKER_QUEUES", " , ,", "must name at least one queue, e.g. critical,default,low"),
    ("WORKER_QUEUES", "a,b,a", "names a queue twice, got 'a,b,a'"),
    (
        "REDIS_URL",
        "localhost:6379",
        f"{REDIS_RULE}, got 'localhost:6379'",
    ),
    (
        "REDIS_URL",
        "redis:localhost",
        f"{REDIS_RULE}, got 'redis:localhost'",
    ),
    (
        "REDIS_URL",
        "http://h",
        f"{REDIS_RULE}, got 'http://h'",
    ),
    ("REDIS_URL", "redis://h:many", f"is no valid URL: 'redis://***'; {URL_RULE.format('redis')}"),
    ("REDIS_URL", "redis://h:65536", f"is no valid URL: 'redis://***'; {URL_RULE.format('redis')}"),
    ("REDIS_URL", "redis://[::1", f"is no valid URL: 'redis://***'; {URL_RULE.format('redis')}"),
    ("REDIS_URL", "redis://h\r\nx", f"is no valid URL: 'redis://***'; {URL_RULE.format('redis')}"),
    ("DATABASE_URL", "mysql://h/db", "must begin with postgresql:// or postgres://, got 'mysql://h/db'"),
    ("DATABASE_URL", "postgres://h:5432,i:x/d", f"is no valid URL: 'postgres://***'; {URL_RULE.format('postgresql')}"),
]


@pytest.mark.parametrize(("env", "text", "rule"), WRONG, ids=lambda value: repr(value)[:30])
def test_a_wrong_value_is_refused_by_name_with_what_is_allowed(env: str, text: str, rule: str) -> None:
    assert refused({env: text}) == f"{env} {rule}"


@pytest.mark.parametrize("name", ["a}b{c", "*", "a b", "-a", "x" * 65])
def test_a_queue_is_named_by_the_rule_of_names(name: str) -> None:
    message = refused({"WORKER_QUEUES": f"default,{name}"})

    assert message.startswith("WORKER_QUEUES queue name must be 1 to 64 of A-Z a-z 0-9 _ . : -")
    assert repr(name) in message


@given(
    env=st.sampled_from([env for env in VARIABLES if env != "JOBQUEUE_APP"]),
    text=st.text(alphabet=st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1),
)
def test_any_text_is_a_value_or_a_config_error_that_names_its_variable(env: str, text: str) -> None:
    told = env
    try:
        Settings.load({env: text})
    except ConfigError as error:
        told = str(error)

    assert told.startswith(env)


@pytest.mark.parametrize(
    ("env", "text", "value"),
    [
        *(("JOBQUEUE_ALLOW_EVICTION", text, True) for text in ("true", "True", "1", "yes", "YES")),
        *(("JOBQUEUE_ALLOW_EVICTION", text, False) for text in ("false", "FALSE", "0", "no")),
        ("WORKER_CONCURRENCY", " 12 ", 12),
        ("WORKER_CONCURRENCY", "+12", 12),
        ("WORKER_CONCURRENCY", "012", 12),
        ("WORKER_QUEUES", "one", ("one",)),
        ("WORKER_QUEUES", " one ,, two,", ("one", "two")),
        ("LOG_LEVEL", "Debug", "debug"),
    ],
)
def test_a_value_may_be_written_in_some_ways(env: str, text: str, value: object) -> None:
    place = next(row[1] for row in EVERY if row[0] == env)

    assert value_of(Settings.load({env: text}), place) == value


@pytest.mark.parametrize(
    ("env", "url"),
    [
        ("REDIS_URL", "redis://"),
        ("REDIS_URL", "redis://:p%40ss%2F@h:6379/0?protocol=3"),
        ("REDIS_URL", "unix:///run/redis.sock?db=1"),
        ("REDIS_URL", "redis://[::1]:6379/0"),
        ("REDIS_URL", "REDIS://h"),
        ("DATABASE_URL", "postgres://u:p@h:5432/db?sslmode=require"),
        ("DATABASE_URL", "postgresql://u:p@h1:5432,h2:5433,h3/db"),
        ("DATABASE_URL", "postgresql:///db?host=/run/postgresql"),
        ("DATABASE_URL", "postgresql://h/db?application_name=a@b"),
    ],
)
def test_a_url_may_be_all_that_the_servers_take(env: str, url: str) -> None:
    """Several Postgres hosts, for a failover, were refused for their ports."""
    settings = Settings.load({env: url})

    assert url in (settings.redis.url, settings.postgres.url)


def test_dead_workers_are_looked_for_at_least_thrice_a_lease() -> None:
    assert refused({"JOBQUEUE_LEASE": "8s"}) == (
        "JOBQUEUE_REAP_INTERVAL (5s) must be at most a third of JOBQUEUE_LEASE (8s); lower it or raise the lease"
    )
    assert Settings.load({"JOBQUEUE_LEASE": "8s", "JOBQUEUE_REAP_INTERVAL": "2s"}).redis.lease == timedelta(seconds=8)


def test_the_rule_between_sections_holds_for_settings_made_by_hand() -> None:
    with pytest.raises(ConfigError, match="at most a third"):
        dataclasses.replace(Settings(), worker=WorkerSettings(reap_interval=timedelta(seconds=10)))


# The file


def test_a_file_may_use_toml_s_own_types(tmp_path: Path) -> None:
    (tmp_path / DEFAULT_FILE).write_text(
        '[worker]\nqueues = ["mail", "low"]\nconcurrency = 20\nshutdown_timeout = "1m"\n'
        "[redis]\nallow_eviction = true\n"
    )

    settings = Settings.load({})

    assert settings.worker.queues == ("mail", "low")
    assert settings.worker.concurrency == 20
    assert settings.worker.shutdown_timeout == timedelta(minutes=1)
    assert settings.redis.allow_eviction is True


@pytest.mark.parametrize(
    ("place", "value", "rule"),
    [
        ("worker.concurrency", "0", "must be at least 1, got '0'"),
        ("worker.concurrency", "true", "must be a whole number, got 'True'"),
        ("worker.concurrency", "1.5", "must be a whole number, got '1.5'"),
        ("worker.shutdown_timeout", "30", "'30' is not a duration; write e.g. 500ms, 30s"),
        ("worker.queues", "[]", "must name at least one queue"),
        ("worker.queues", '["a", "a"]', "names a queue twice"),
        ("worker.queues", '""', "must name at least one queue"),
        ("log.level", '"loud"', "must be one of debug, info, warning, error, got 'loud'"),
    ],
)
def test_a_wrong_value_in_the_file_is_refused_by_its_place(tmp_path: Path, place: str, value: str, rule: str) -> None:
    (tmp_path / DEFAULT_FILE).write_text(toml(place, value))

    assert refused({}).startswith(f"{place} {rule}")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[worker]\nconcurency = 5\n", "no setting worker.concurency; `jobqueue config show` lists them all"),
        ("[wrker]\nconcurrency = 5\n", "no setting wrker.concurrency"),
        ("concurrency = 5\n", "'concurrency' must be a section such as [worker]"),
        ("[worker.concurrency]\nmost = 5\n", "worker.concurrency must be a whole number"),
        ("[worker\n", "cannot read"),
        ("\0", "cannot read"),
    ],
)
def test_what_the_file_may_not_say_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / DEFAULT_FILE).write_text(text)

    assert message in refused({})


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / DEFAULT_FILE).write_bytes(b"\xff\xfe")

    assert f"cannot read {DEFAULT_FILE}" in refused({})


def test_a_file_may_be_elsewhere(tmp_path: Path) -> None:
    named, given = tmp_path / "named.toml", tmp_path / "given.toml"
    named.write_text(toml("worker.concurrency", "2"))
    given.write_text(toml("worker.concurrency", "3"))

    assert Settings.load({FILE_VARIABLE: str(named)}).worker.concurrency == 2
    assert Settings.load({FILE_VARIABLE: str(named)}, file=given).worker.concurrency == 3
    assert Settings.load({FILE_VARIABLE: ""}).worker.concurrency == 10


def test_a_named_file_must_be_there(tmp_path: Path) -> None:
    assert refused({FILE_VARIABLE: "no.toml"}) == "there is no settings file no.toml (named by JOBQUEUE_CONFIG)"
    assert refused({}, file=Path("no.toml")) == "there is no settings file no.toml"
    assert "cannot read" in refused({FILE_VARIABLE: str(tmp_path)})
    assert "cannot read" in refused({FILE_VARIABLE: "a\0b"})


# Secrets

PASSWORD = "hunter2"
SECRET_URLS = {"REDIS_URL": f"redis://ada:{PASSWORD}@h:6379/0", "DATABASE_URL": f"postgresql://ada:{PASSWORD}@h/db"}


def test_no_repr_shows_a_password() -> None:
    settings = Settings.load(SECRET_URLS)

    for shown in (repr(settings), str(settings), repr(settings.redis), f"{settings.postgres}"):
        assert PASSWORD not in shown
    assert "timeout=" in repr(settings.redis)


def test_what_is_shown_of_a_setting_has_no_password() -> None:
    settings = Settings.load(SECRET_URLS)
    shown = {each.env: show(each, settings) for each in SETTINGS}

    assert shown["REDIS_URL"] == "redis://ada:***@h:6379/0"
    assert shown["DATABASE_URL"] == "postgresql://ada:***@h/db"
    assert shown["WORKER_QUEUES"] == "critical,default,low"
    assert shown["JOBQUEUE_ALLOW_EVICTION"] == "false"
    assert shown["JOBQUEUE_LEASE"] == "15s"
    assert shown["JOBQUEUE_APP"] == ""


def test_every_url_is_a_secret() -> None:
    assert [each.env for each in SETTINGS if each.secret] == ["REDIS_URL", "DATABASE_URL"]
    for section in (RedisSettings, PostgresSettings):
        assert {each.name for each in dataclasses.fields(section) if not each.repr} == {"url"}


@pytest.mark.parametrize(
    ("url", "masked"),
    [
        ("redis://localhost:6379", "redis://localhost:6379"),
        ("redis://:hunter2@h", "redis://:***@h"),
        ("redis://ada:hunter2@h:1/0", "redis://ada:***@h:1/0"),
        ("redis://ada@h", "redis://ada@h"),
        ("redis://ada:hun:ter2@h", "redis://ada:***@h"),
        ("redis://ada:hun%40ter2@h", "redis://ada:***@h"),
        ("redis://ada:hun@ter2@h", "redis://ada:***@h"),
        ("redis://h/0?password=hunter2", "redis://h/0?***"),
        ("unix:///run/redis.sock?password=hunter2", "unix:///run/redis.sock?***"),
        ("postgresql:///db", "postgresql:///db"),
        ("redis://h/0#fragment", "redis://h/0"),
        ("redis://a:a@a:1/a:a", "redis://a:***@a:1/a:a"),
        ("postgresql://ada:hunter2@h1:1,h2:2/db", "postgresql://ada:***@h1:1,h2:2/db"),
        ("redis://ada:hunter2@[::1]:6379/0", "redis://ada:***@[::1]:6379/0"),
        ("redis://ada:hunt/er2@h", "redis://***"),
        ("redis://ada:hunt#er2@h", "redis://***"),
        ("redis://ada:hunt?er2@h", "redis://***"),
        ("redis://ada:12?er2@h", "redis://***"),
        ("redis://ada:12/er2@h", "redis://***"),
        ("redis://ada:hunter2@h:port", "redis://***"),
        ("redis://ada:hunter2@[::1", "redis://***"),
        ("redis://ada:hunter2@h\u2100", "redis://***"),
        ("redis://:hunter2", "redis://***"),
        ("redis://ada:hunter2 @h", "redis://***"),
        ("redis://ada:hun\nter2@h", "redis://***"),
        ("ada:hunter2@h", "***"),
        ("://ada:hunter2@h", "***"),
        ("localhost:6379", "localhost:6379"),
        ("", ""),
    ],
)
def test_a_masked_url_shows_no_password(url: str, masked: str) -> None:
    """A bare / or # in the password made everything before it look like the host."""
    assert mask_url(url) == masked


@given(st.text(alphabet="hunter2:/?#[]@ %\n\u2100", min_size=1, max_size=12), st.sampled_from(["redis", "http", ""]))
def test_whatever_the_password_holds_masking_neither_fails_nor_shows_it(password: str, scheme: str) -> None:
    masked = mask_url(f"{scheme}://ada:<{password}>@h:6379/0")

    assert "<" not in masked
    assert ">" not in masked


@pytest.mark.parametrize(
    "url",
    [
        "http://ada:hunter2@h",
        "redis://ada:hunter2@h:port",
        "redis://ada:hunter2/x@h",
        "redis://ada:hunter2@h\u2100",
        "redis://ada:hunter2@[h",
        "ada:hunter2@h",
    ],
)
def test_a_refused_url_shows_its_password_neither_in_the_message_nor_in_the_traceback(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Settings.load({"REDIS_URL": url})

    assert PASSWORD not in str(caught.value)
    assert PASSWORD not in "".join(traceback.format_exception(caught.value))


# Sections


def test_sections_cannot_be_changed() -> None:
    settings = Settings()

    for section, name in ((settings, "redis"), (settings.redis, "url"), (settings.worker, "concurrency")):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(section, name, None)


@pytest.mark.parametrize("setting", SETTINGS, ids=VARIABLES)
def test_a_default_obeys_its_own_rule(setting: Setting) -> None:
    text = written(setting.default)

    settings = Settings.load({setting.env: text})

    assert getattr(getattr(settings, setting.section), setting.name) == setting.default


def test_a_duration_is_written_as_people_write_it() -> None:
    assert written(timedelta(minutes=90)) == format_duration(timedelta(minutes=90)) == "1h30m"
