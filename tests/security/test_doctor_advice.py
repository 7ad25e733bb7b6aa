"""What `jobqueue doctor` says of servers that are not safe (S35, S37)."""

import pytest

from jobqueue.broker.server import LUA_FIXES, ServerFacts
from jobqueue.cli.doctor import _server
from jobqueue.cli.encryption import is_open_postgres, is_open_redis
from jobqueue.config import Settings

# CVE-2025-49844, -46817, -46818 and -46819: the last release of each line without the fixes, and the first with them.
BROKEN = {
    "redis": ["7.0.0", "7.0.15", "7.2.0", "7.2.10", "7.4.5", "8.0.3", "8.2.0", "8.2.1"],
    "valkey": ["7.2.4", "7.2.10", "8.0.5", "8.1.0", "8.1.3"],
}
FIXED = {
    "redis": ["7.2.11", "7.4.6", "8.0.4", "8.2.2", "8.4.0", "9.0.0"],
    "valkey": ["7.2.11", "8.0.6", "8.1.4", "9.0.0", "9.1.2"],
}


def findings(flavour: str, version: str) -> dict[str, tuple[str, str]]:
    facts = ServerFacts(flavour=flavour, version=version, role="master", eviction="noeviction", aof=True)
    return {each.about: (each.state, each.what) for each in _server(facts, "redis://here", Settings())}


@pytest.mark.parametrize(("flavour", "version"), [(each, version) for each in BROKEN for version in BROKEN[each]])
def test_a_server_whose_scripts_can_break_out_is_warned_of(flavour: str, version: str) -> None:
    state, what = findings(flavour, version)["lua"]

    assert state == "warning"
    assert what.startswith(f"{flavour} {version} is older than the fix of CVE-2025-49844")
    assert "distribution" in what  # Debian has fixed its 7.0.15, which still says 7.0.15


@pytest.mark.parametrize(("flavour", "version"), [(each, version) for each in FIXED for version in FIXED[each]])
def test_a_server_with_the_fix_is_not(flavour: str, version: str) -> None:
    assert "lua" not in findings(flavour, version)


@pytest.mark.parametrize("version", ["", "unknown", "7", "7.2-rc"])
def test_a_version_that_cannot_be_read_is_no_error(version: str) -> None:
    assert findings("redis", version)["redis"]


def test_every_line_that_is_served_and_had_the_hole_is_in_the_table() -> None:
    assert {line for lines in LUA_FIXES.values() for line in lines} == {
        *((7, 0), (7, 2), (7, 4), (8, 0), (8, 2)),
        *((7, 2), (8, 0), (8, 1)),
    }


@pytest.mark.parametrize(
    ("url", "is_open"),
    [
        ("redis://redis.example:6379", True),
        ("redis://user:password@10.0.0.5", True),
        ("redis+sentinel://a:26379,b:26379/name", True),
        ("redis+cluster://127.0.0.1:6379,10.0.0.2:6379", True),
        ("redis://localhost:6379", False),
        ("redis://127.0.0.1", False),
        ("redis://[::1]:6379", False),
        ("redis://localhost@redis.example", True),
        ("rediss://redis.example", False),
        ("rediss+cluster://a,b", False),
        ("unix:///run/redis.sock", False),
    ],
)
def test_a_redis_elsewhere_without_tls_is_warned_of(url: str, is_open: bool) -> None:
    assert is_open_redis(url) is is_open


@pytest.mark.parametrize(
    ("url", "is_open"),
    [
        ("postgresql://db.example/shop", True),
        ("postgresql://db.example/shop?sslmode=prefer", True),
        ("postgresql://db.example/shop?sslmode=require", True),  # encrypted, and to anybody
        ("postgresql://localhost,db.example/shop", True),
        ("postgresql:///shop?host=db.example", True),
        ("postgresql://db.example/shop?sslmode=verify-full", False),
        ("postgresql://db.example/shop?sslmode=verify-ca", False),
        ("postgresql://127.0.0.1:5432/shop", False),
        ("postgresql:///shop?host=/run/postgresql", False),
        ("postgresql:///shop", False),
    ],
)
def test_a_postgres_elsewhere_that_proves_nothing_is_warned_of(url: str, is_open: bool) -> None:
    assert is_open_postgres(url) is is_open
