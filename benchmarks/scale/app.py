"""The application whose jobs are measured: `jobqueue worker -A benchmarks.scale.app`."""

from datetime import timedelta

from jobqueue import Job, Registry

registry = Registry()


@registry.task("noop")
async def noop(text: str) -> None: ...


@registry.task("echo", result_ttl=timedelta(days=1))
async def echo(text: str) -> str:
    return text


def text_of(size: int) -> str:
    """Such that the payload `{"text": "..."}` has *size* bytes."""
    return "x" * (size - len('{"text":""}'))


def filling(count: int, size: int = 100) -> list[Job]:
    """So many no-ops with a payload of *size* bytes."""
    text = text_of(size)
    return [noop.job(text=text) for _ in range(count)]
