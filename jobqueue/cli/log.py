"""Logging of the command line: to stderr, as text for people or as JSON lines. The library never configures it."""

import io
import logging
import os
import sys
from collections.abc import MutableMapping
from typing import Any, Final, TextIO

import structlog

from jobqueue.config import LogSettings
from jobqueue.outcome import scrubbed

_LEVELS: Final = {name: getattr(logging, name.upper()) for name in ("debug", "info", "warning", "error")}

_OF_SEVERAL_LINES: Final = ("exception", "stack")


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
        return [structlog.processors.format_exc_info, _without_secrets, structlog.processors.JSONRenderer()]
    return [
        _without_secrets,
        _on_one_line,
        structlog.dev.ConsoleRenderer(
            colors=coloured(),
            pad_event_to=24,
            exception_formatter=_harmless_traceback,
        ),
    ]


def _without_secrets(_logger: Any, _method: str, fields: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Passwords in URLs, keys in headers: of our own errors, of handlers' records, of tracebacks."""
    return {name: scrubbed(value) if isinstance(value, str) else value for name, value in fields.items()}


def _on_one_line(_logger: Any, _method: str, fields: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Texts may come from a job or its error: as JSON escapes them, so does this, and no line is forged."""
    return {name: _harmless(name, value) if isinstance(value, str) else value for name, value in fields.items()}


def _harmless(name: str, text: str) -> str:
    return "\n".join(map(escaped, text.split("\n"))) if name in _OF_SEVERAL_LINES else escaped(text)


def _harmless_traceback(out: TextIO, exc_info: Any) -> None:
    # The other formatters print the values of local variables: payloads, passwords.
    text = io.StringIO()
    structlog.dev.plain_traceback(text, exc_info)
    out.write(_harmless("exception", scrubbed(text.getvalue())))


def escaped(text: str) -> str:
    """*text* with nothing in it that a terminal would obey, or that would begin another line."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def coloured() -> bool:
    """Whether stderr takes colours. `FORCE_COLOR` is for a parent that passes our output on to a terminal."""
    if os.environ.get("NO_COLOR"):
        return False
    return sys.stderr.isatty() or bool(os.environ.get("FORCE_COLOR"))
