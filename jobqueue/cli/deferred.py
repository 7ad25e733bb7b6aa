"""Packages whose `__init__` runs when one of its names is asked for, instead of with the import of any submodule.

`import redis.asyncio.connection` runs `redis/__init__.py` first, and that imports every command, module and client
of redis-py: 4 MB and 30 ms in each worker, which uses none of them. The rest of the process sees no difference:
`redis.Redis` and `from redis import Redis` run the `__init__` and go on. This concerns the whole process, so only
the command line does it.
"""

import importlib
import sys
import threading
from importlib.util import find_spec, module_from_spec
from types import ModuleType
from typing import Any

_loading = threading.RLock()
_begun: set[str] = set()


class _Deferred(ModuleType):
    """A package before its `__init__` has run."""

    def __getattr__(self, name: str) -> Any:
        # Submodules do not wait for the `__init__`, which may be importing them at this moment.
        if find_spec(f"{self.__name__}.{name}") is not None:
            return importlib.import_module(f"{self.__name__}.{name}")
        with _loading:
            if self.__name__ not in _begun:
                _begun.add(self.__name__)
                try:
                    _run(self)
                except BaseException:
                    _begun.discard(self.__name__)  # as with any import, the next one tries again, and says why
                    raise
                self.__class__ = ModuleType  # type: ignore[assignment]
        if name in vars(self):
            return vars(self)[name]
        raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")


def _run(package: ModuleType) -> None:
    assert package.__spec__ is not None
    assert package.__spec__.loader is not None
    package.__spec__.loader.exec_module(package)


def defer(*packages: str) -> None:
    """Put off the `__init__` of *packages*, parents first. Leaves alone what is imported already, or not installed."""
    for name in packages:
        if name in sys.modules:
            continue
        spec = find_spec(name)
        if spec is None:
            return
        package = module_from_spec(spec)
        package.__class__ = _Deferred
        sys.modules[name] = package
        parent, _, child = name.rpartition(".")
        if parent:
            setattr(sys.modules[parent], child, package)
