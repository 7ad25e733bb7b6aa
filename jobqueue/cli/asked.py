"""The job that somebody asks for in the shell: its task, its arguments as JSON, its priority."""

import sys
from typing import Any

import click
import msgspec

from jobqueue.errors import InvalidJob
from jobqueue.job import Job
from jobqueue.registry import Registry

_NO_APP = "no app is known, so queue and options are the defaults, not those of the task; give -A or set JOBQUEUE_APP"
_KINDS = {list: "array", str: "string", int: "number", float: "number", bool: "boolean", type(None): "null"}


def asked_job(type: str, payload: str, registry: Registry | None) -> Job:
    """A job of this task, with the task's own options where its app is known."""
    arguments = _arguments(payload)
    if registry is None:
        return Job(type, arguments)
    options = registry.get(type).options
    return Job(
        type,
        arguments,
        queue=options.queue,
        priority=options.priority,
        max_retries=options.max_retries,
        result_ttl=options.result_ttl,
    )


def tell_defaults(registry: Registry | None) -> None:
    """Say that a job was made without its task, where no app is known."""
    if registry is None:
        click.echo(_NO_APP, err=True)


def asked_priority(text: str | None) -> str | int | None:
    """A priority's name, or its number."""
    return int(text) if text is not None and text.isdecimal() else text


def _arguments(text: str) -> dict[str, Any]:
    try:
        payload = msgspec.json.decode(sys.stdin.read() if text == "-" else text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidJob(f'payload is not valid JSON: {error}; write e.g. \'{{"to": "ada@example.org"}}\'') from error
    if not isinstance(payload, dict):
        raise InvalidJob(f"payload must be a JSON object, the arguments by name, got a JSON {_KINDS[type(payload)]}")
    return payload
