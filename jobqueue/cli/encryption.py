"""Whether what goes to a server can be read on its way: what `jobqueue doctor` says of the URLs."""

from ipaddress import ip_address
from urllib.parse import SplitResult, parse_qs, urlsplit

_VERIFIED = ("verify-ca", "verify-full")


def is_open_redis(url: str) -> bool:
    """Whether it leaves this machine, and not by TLS."""
    parts = urlsplit(url)
    return parts.scheme.startswith("redis") and not parts.scheme.startswith("rediss") and _leaves(parts)


def is_open_postgres(url: str) -> bool:
    """Whether it leaves this machine to a server that need not prove who it is."""
    parts = urlsplit(url)
    asked = parse_qs(parts.query)
    hosts = asked.get("host", [""])[-1]
    if hosts.startswith("/"):
        return False  # a socket of this machine
    return asked.get("sslmode", [""])[-1] not in _VERIFIED and _leaves(parts, *hosts.split(","))


def _leaves(parts: SplitResult, *more: str) -> bool:
    given = [*parts.netloc.rpartition("@")[2].split(","), *more]
    return any(_is_remote(urlsplit(f"//{host}").hostname or "") for host in given)


def _is_remote(host: str) -> bool:
    try:
        return not ip_address(host).is_loopback
    except ValueError:
        return host not in ("", "localhost") and not host.startswith("%2f")
