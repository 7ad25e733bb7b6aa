import socket

import pytest

from jobqueue.cli.api import is_loopback
from jobqueue.cli.dev import _free_port
from jobqueue.cli.processes import _probe_of
from jobqueue.errors import ConfigError


def test_each_process_has_a_probe_of_its_own() -> None:
    assert [_probe_of(n, 9100, 3) for n in range(3)] == [
        ["--probe-port=9100"],
        ["--probe-port=9101"],
        ["--probe-port=9102"],
    ]
    assert _probe_of(1, 0, 3) == ["--probe-port=0"]
    assert _probe_of(1, None, 3) == []


def test_ports_that_do_not_exist_are_refused() -> None:
    with pytest.raises(ConfigError, match="65535 leaves no ports for 2 processes"):
        _probe_of(0, 65_535, 2)


def test_dev_takes_the_next_port_when_the_one_it_wants_is_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

        assert _free_port(port) > port


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.10", "::1", "[::1]", "localhost", "LOCALHOST"])
def test_this_machines_own_addresses(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "10.0.0.1", "192.168.1.2", "myhost", "localhost.example.org"])
def test_addresses_that_others_may_reach(host: str) -> None:
    assert not is_loopback(host)
