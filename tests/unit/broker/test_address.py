import pytest

from jobqueue.broker.address import read_address
from jobqueue.errors import ConfigError


def test_one_server_is_taken_as_redis_py_reads_it() -> None:
    address = read_address("rediss://ada:secret@redis.example.org:6380/2?ssl_cert_reqs=none")
    assert address.kind == "single"
    assert address.url() == "rediss://ada:secret@redis.example.org:6380/2?ssl_cert_reqs=none"
    assert "secret" not in repr(address)


def test_sentinels_a_name_and_a_database() -> None:
    address = read_address("redis+sentinel://ada:s%40t@a:1,b,[::1]:3/orders/4?sentinel_password=x&socket_read_size=9")
    assert (address.kind, address.service) == ("sentinel", "orders")
    assert address.nodes == (("a", 1), ("b", 26379), ("::1", 3))
    assert address.sentinel_options == {"password": "x"}
    assert address.url(("10.0.0.1", 6379)) == "redis://ada:s%40t@10.0.0.1:6379/4?socket_read_size=9"
    assert address.url(("::1", 6379)) == "redis://ada:s%40t@[::1]:6379/4?socket_read_size=9"
    assert "s%40t" not in repr(address)


def test_a_cluster_by_some_of_its_nodes() -> None:
    address = read_address("rediss+cluster://:pw@a:7000,b:7001")
    assert (address.kind, address.nodes) == ("cluster", (("a", 7000), ("b", 7001)))
    assert address.url(("b", 7001)) == "rediss://:pw@b:7001"


def test_sentinels_without_a_name_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"names no primary; write redis\+sentinel://"):
        read_address("redis+sentinel://a:1,b:2")


def test_f85_a_cluster_has_only_database_0() -> None:
    """A cluster URL that names a database other than 0 is refused at start."""
    assert read_address("redis+cluster://a:1/0").kind == "cluster"
    with pytest.raises(ConfigError, match=r"'redis\+cluster://:\*\*\*@a:1/1' names a database; .* only database 0"):
        read_address("redis+cluster://:pw@a:1/1")
