"""Where the broker is: what a Redis URL says of one server, of Sentinels, or of a cluster.

redis://user:password@host:6379/0                       one server; also rediss:// and unix://
redis+sentinel://user:password@a:26379,b:26379/name/0   the primary that the Sentinels call `name`
redis+cluster://user:password@a:6379,b:6379             the cluster that these nodes belong to

`rediss+sentinel` and `rediss+cluster` speak TLS. User and password are the servers'; those of the
Sentinels, where they differ from none, are the options `sentinel_username` and `sentinel_password`.
"""

from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import SplitResult, parse_qsl, urlencode, urlsplit

from jobqueue.config import is_url, mask_url
from jobqueue.errors import ConfigError

Kind = Literal["single", "sentinel", "cluster"]
Node = tuple[str, int]
"""Host and port."""

_DEFAULT_PORT = {"sentinel": 26379, "cluster": 6379}


@dataclass(frozen=True, slots=True)
class Address:
    """A Redis URL, read."""

    kind: Kind
    masked: str
    nodes: tuple[Node, ...] = ()
    service: str = ""
    sentinel_options: dict[str, str] = field(default_factory=dict, repr=False)
    _template: SplitResult = field(default=urlsplit(""), repr=False)

    def url(self, node: Node | None = None) -> str:
        """As redis-py reads it: of the one server, or of *node* with the same user, database and options."""
        if node is None:
            return self._template.geturl()
        host = f"[{node[0]}]" if ":" in node[0] else node[0]
        user, at, _ = self._template.netloc.rpartition("@")
        return self._template._replace(netloc=f"{user}{at}{host}:{node[1]}").geturl()


def read_address(url: str) -> Address:
    """Read a Redis URL.

    Raises:
        ConfigError: a Sentinel URL names no service, or a cluster's a database.
    """
    masked = mask_url(url)
    if not is_url(url):
        raise ConfigError(
            f"REDIS_URL is no valid URL: {masked!r}; write @ : / ? # in a password as %40 %3A %2F %3F %23"
        )
    parts = urlsplit(url)
    scheme, _, kind = parts.scheme.partition("+")
    if kind == "sentinel":
        return _sentinel(parts._replace(scheme=scheme), masked)
    if kind == "cluster":
        return _cluster(parts._replace(scheme=scheme), masked)
    return Address("single", masked, _template=parts)


def _sentinel(parts: SplitResult, masked: str) -> Address:
    service, _, database = parts.path.strip("/").partition("/")
    if not service:
        raise ConfigError(
            f"REDIS_URL {masked!r} names no primary; write redis+sentinel://host:26379,host:26379/name, "
            f"with the name that `sentinel monitor` gives it"
        )
    if database and not database.isdecimal():
        raise ConfigError(f"REDIS_URL {masked!r}: after the name comes the number of a database, got {database!r}")
    options = parse_qsl(parts.query, keep_blank_values=True)
    of_sentinels = {name.removeprefix("sentinel_"): value for name, value in options if name.startswith("sentinel_")}
    query = urlencode([each for each in options if not each[0].startswith("sentinel_")])
    return Address(
        "sentinel",
        masked,
        _nodes(parts, "sentinel"),
        service,
        of_sentinels,
        parts._replace(path=f"/{database}" if database else "", query=query),
    )


def _cluster(parts: SplitResult, masked: str) -> Address:
    if parts.path.strip("/") not in ("", "0"):
        raise ConfigError(f"REDIS_URL {masked!r} names a database; a Redis Cluster has only database 0")
    return Address("cluster", masked, _nodes(parts, "cluster"), _template=parts._replace(path=""))


def _nodes(parts: SplitResult, kind: Kind) -> tuple[Node, ...]:
    hosts = [urlsplit(f"//{host}") for host in parts.netloc.rpartition("@")[2].split(",")]
    return tuple((host.hostname or "localhost", host.port or _DEFAULT_PORT[kind]) for host in hosts)
