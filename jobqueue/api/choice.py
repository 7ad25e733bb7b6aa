"""Which queues a look takes, where there are more than it may."""

from collections.abc import Iterator, Sequence
from itertools import islice, zip_longest
from typing import Final

from jobqueue.access.scope import covers

MOST_QUEUES: Final = 1_000
_MOST_VIEWS: Final = 16
_REMEMBERED_S: Final = 60.0


class Choice:
    """The first thousand queues by name; and a thousand of the others for callers who see only some, each in turn."""

    def __init__(self) -> None:
        self._views: dict[tuple[str, ...], float] = {}
        """Patterns -> when somebody looked with them last."""

    def note(self, patterns: Sequence[str], now: float) -> bool:
        """Somebody looks with these patterns. Returns whether they have to be chosen for anew."""
        view = tuple(patterns)
        if "*" in view:
            return False
        known = view in self._views
        if known or len(self._views) < _MOST_VIEWS:
            self._views[view] = now
        return not known and view in self._views

    def of(self, names: Sequence[str], now: float) -> list[str]:
        """Those to be looked at, of all *names* in their order."""
        self._views = {view: then for view, then in self._views.items() if now - then <= _REMEMBERED_S}
        first, others = names[:MOST_QUEUES], names[MOST_QUEUES:]
        more: dict[str, None] = {}
        for row in zip_longest(*(_seen(view, others) for view in self._views)):
            more.update((name, None) for name in row if name is not None)
            if len(more) >= MOST_QUEUES:
                break
        return [*first, *sorted(islice(more, MOST_QUEUES))]


def _seen(view: Sequence[str], names: Sequence[str]) -> Iterator[str]:
    return (name for name in names if covers(view, name))
