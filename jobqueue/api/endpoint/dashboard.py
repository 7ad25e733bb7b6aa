"""`/` and `/static/`: the dashboard's files. They hold no data; what they show comes from the API."""

from aiohttp import web

from jobqueue.api.call import Call
from jobqueue.api.files import INDEX, answer, files
from jobqueue.api.problem import Refusal


async def index(call: Call) -> web.StreamResponse:
    """The dashboard."""
    return _file(call, INDEX)


async def static(call: Call) -> web.StreamResponse:
    """One of its files."""
    return _file(call, call.path["file"])


def _file(call: Call, name: str) -> web.StreamResponse:
    file = files().get(name)
    if file is None:
        raise Refusal("not-found", "there is no such file")
    return answer(call.request, file)
