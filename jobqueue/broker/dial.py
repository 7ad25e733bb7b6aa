"""The dialer for a URL."""

from jobqueue.broker.address import read_address
from jobqueue.broker.cluster import ClusterDialer
from jobqueue.broker.dialer import Dialer, NodeDialer, SentinelDialer

_DIALERS: dict[str, type[Dialer]] = {"single": NodeDialer, "sentinel": SentinelDialer, "cluster": ClusterDialer}


def dial(url: str, *, timeout_s: float, client_name: str = "jobqueue") -> Dialer:
    """A dialer for the Redis at *url*: one server, Sentinels' primary, or a cluster.

    Raises:
        ConfigError: the URL is wrong.
    """
    address = read_address(url)
    return _DIALERS[address.kind](address, timeout_s=timeout_s, client_name=client_name)
