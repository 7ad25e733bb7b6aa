from collections.abc import Iterator
from typing import Any

import pytest
import structlog


@pytest.fixture(autouse=True)
def logging_as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The command line configures logging for its process; here that is everybody's."""
    before, configure = structlog.get_config(), structlog.configure

    def for_this_test(**options: Any) -> None:
        configure(**{**options, "cache_logger_on_first_use": False})

    monkeypatch.setattr(structlog, "configure", for_this_test)
    yield
    configure(**before)
