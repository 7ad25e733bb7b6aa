"""Logging of the command line: to stderr, as text for people or as JSON lines. The library never configures it."""

import logging
import os
import sys
from typing import Any, Final

import structlog

from jobqueue.config import LogSettings

_LEVELS: Final = {name: getattr(logging, name.upper()) for name in ("debug", "info", "warning", "error")}


def configure_logging(settings: LogSettings, *, at_least: str = "debug", long_running: bool = False) -> None:
    """Send structlog's and the standard library's records to stderr.

    Short commands pass *at_least* `warning`: their answer is on stdout. *long_running* processes keep
    their loggers, which makes a line that is filtered out cost next to nothing.
    """
    level = max(_LEVELS[settings.level], _LEVELS[at_least])
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso" if settings.format == "json" else "%H:%M:%S", utc=_utc(settings)),
    ]
    renderer = _renderer(settings)
    structlog.configure(
        processors=[*shared, *renderer],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        cache_logger_on_first_use=long_running,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.ExtraAdder()],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderer],
        )
    )
    logging.basicConfig(level=level, handlers=[handler], force=True)
    logging.captureWarnings(True)
    logging.getLogger("watchfiles").setLevel(logging.WARNING)  # it tells of every change


def _utc(settings: LogSettings) -> bool:
    return settings.format == "json"


def _renderer(settings: LogSettings) -> list[Any]:
    if settings.format == "json":
        return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    return [
        structlog.dev.ConsoleRenderer(
            colors=coloured(),
            pad_event_to=24,
            # The other formatters print the values of local variables: payloads, passwords.
            exception_formatter=structlog.dev.plain_traceback,
        )
    ]


def coloured() -> bool:
    """Whether stderr takes colours. `FORCE_COLOR` is for a parent that passes our output on to a terminal."""
    if os.environ.get("NO_COLOR"):
        return False
    return sys.stderr.isatty() or bool(os.environ.get("FORCE_COLOR"))
