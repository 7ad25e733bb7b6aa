"""What a topology is started with."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from testutil.proxy import ProxyHost


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """*host* runs the proxies; None leaves the servers without them.

    *extra_args* and *env* go to every data node; *disk* is the directory that holds their data, which
    otherwise is temporary. *replicas* is how many each primary of a cluster has.
    """

    binary: Path
    host: ProxyHost | None = None
    extra_args: Sequence[str] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    disk: Path | None = None
    replicas: int = 0
