"""The dashboard's files: read once, known by name, nothing else is served."""

import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from aiohttp import web

FOLDER: Final = Path(__file__).parent / "static"
INDEX: Final = "index.html"
_TYPES: Final = {
    ".css": "text/css",
    ".html": "text/html",
    ".js": "text/javascript",
    ".json": "application/json",
    ".md": "text/plain",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".txt": "text/plain",
    ".woff2": "font/woff2",
}


@dataclass(frozen=True, slots=True)
class File:
    """A file as it is sent."""

    body: bytes
    media_type: str
    tag: str


@cache
def files() -> dict[str, File]:
    """Every file of the dashboard by its name under `static/`. A name that is not among them does not exist."""
    return {
        path.relative_to(FOLDER).as_posix(): File(
            body=(body := path.read_bytes()),
            media_type=_TYPES[path.suffix],
            tag=hashlib.sha256(body).hexdigest()[:32],
        )
        for path in sorted(FOLDER.rglob("*"))
        if path.is_file() and path.suffix in _TYPES
    }


def answer(request: web.Request, file: File) -> web.Response:
    """The file, or that the browser has it already."""
    headers = {"ETag": f'"{file.tag}"', "Cache-Control": "no-cache"}
    known = {each.value for each in request.if_none_match or ()}
    if known & {file.tag, "*"}:
        return web.Response(status=304, headers=headers)
    text = file.media_type.startswith("text/") or file.media_type == "application/json"
    return web.Response(
        body=file.body, headers=headers, content_type=file.media_type, charset="utf-8" if text else None
    )
