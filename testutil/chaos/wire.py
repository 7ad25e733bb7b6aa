"""A proxy on which several faults may lie at once, each of which ends by itself."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from testutil.proxy import FaultProxy

Condition = Callable[[FaultProxy], object]


class Wire:
    """`heal` of a proxy ends everything; so what is still meant to hold is set again."""

    def __init__(self, proxy: FaultProxy) -> None:
        self.proxy = proxy
        self._held: list[Condition] = []

    @contextmanager
    def under(self, condition: Condition) -> Iterator[None]:
        """Set *condition*; at the end heal it alone."""
        condition(self.proxy)
        self._held.append(condition)
        try:
            yield
        finally:
            if condition in self._held:
                self._held.remove(condition)
            self.proxy.heal()
            for other in self._held:
                other(self.proxy)

    def heal(self) -> None:
        self._held.clear()
        self.proxy.heal()
