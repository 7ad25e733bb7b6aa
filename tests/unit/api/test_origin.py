"""Names and origins."""

import pytest
from aiohttp.test_utils import make_mocked_request

from jobqueue.api.caller import is_loopback
from jobqueue.api.origin import Hosts, host_name, refuse_other_sites
from jobqueue.api.problem import Refusal
from jobqueue.config import ApiSettings


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("localhost:8080", "localhost"),
        ("LOCALHOST", "localhost"),
        ("jobs.example.org.", "jobs.example.org"),
        ("[::1]:8080", "[::1]"),
        ("127.0.0.1", "127.0.0.1"),
        ("", ""),
    ],
)
def test_the_name_in_a_host_header(host: str, name: str) -> None:
    assert host_name(host) == name


GOOD = ["localhost", "localhost:1", "127.0.0.1:8080", "127.8.9.1", "[::1]", "[::1]:80"]
BAD = [
    "",
    "evil.example",
    "localhost.evil.example",
    "127.0.0.1.evil.example",
    "10.0.0.1",
    "0.0.0.0",
    "[::2]",
    "localhost@x",
]


@pytest.mark.parametrize("host", GOOD)
def test_loopback_names_are_ours(host: str) -> None:
    Hosts(ApiSettings()).check(make_mocked_request("GET", "/", headers={"Host": host}), strict=True)


@pytest.mark.parametrize("host", BAD)
def test_other_names_are_refused_without_keys(host: str) -> None:
    request = make_mocked_request("GET", "/", headers={"Host": host})

    with pytest.raises(Refusal, match=r"wrong-host.*API_ALLOWED_HOSTS"):
        Hosts(ApiSettings()).check(request, strict=True)
    Hosts(ApiSettings()).check(request, strict=False)
    with pytest.raises(Refusal, match="wrong-host"):
        Hosts(ApiSettings(allowed_hosts=("jobs.example.org",))).check(request, strict=False)


def test_listed_names_are_ours() -> None:
    hosts = Hosts(ApiSettings(allowed_hosts=("jobs.example.org",)))

    hosts.check(make_mocked_request("GET", "/", headers={"Host": "Jobs.Example.org:443"}), strict=True)


@pytest.mark.parametrize(
    ("headers", "by_cookie", "good"),
    [
        ({}, False, True),
        ({}, True, False),
        ({"Origin": "http://localhost:8080"}, True, True),
        ({"Origin": "https://localhost:8080"}, True, True),  # a proxy in front speaks TLS
        ({"Sec-Fetch-Site": "same-origin"}, True, True),
        ({"Sec-Fetch-Site": "none"}, True, True),
        ({"Origin": "http://localhost:9090"}, False, False),
        ({"Origin": "http://evil.example"}, False, False),
        ({"Origin": "null"}, False, False),
        ({"Origin": ""}, False, False),
        ({"Origin": "file://localhost:8080"}, False, False),
        ({"Origin": "http://user@localhost:8080"}, False, False),
        ({"Origin": "http://[bad"}, False, False),
        ({"Sec-Fetch-Site": "same-site"}, False, False),
        ({"Sec-Fetch-Site": "cross-site"}, False, False),
        ({"Sec-Fetch-Site": "same-origin", "Origin": "http://evil.example"}, True, False),
    ],
)
def test_changes_asked_for_by_other_sites_are_refused(headers: dict[str, str], by_cookie: bool, good: bool) -> None:
    request = make_mocked_request("POST", "/", headers={"Host": "localhost:8080", **headers})

    if good:
        refuse_other_sites(request, by_cookie=by_cookie)
    else:
        with pytest.raises(Refusal, match="another site"):
            refuse_other_sites(request, by_cookie=by_cookie)


@pytest.mark.parametrize(
    ("address", "ours"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("", True),
        ("10.0.0.1", False),
        ("::ffff:10.0.0.1", False),
        ("fe80::1%eth0", False),
        ("localhost", False),
    ],
)
def test_addresses_of_this_machine(address: str, ours: bool) -> None:
    assert is_loopback(address) == ours
