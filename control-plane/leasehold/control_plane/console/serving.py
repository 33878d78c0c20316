"""Serves the console's files, as they lie in this package, to whoever asks: they are no secret, and know nothing.

What is shown in them comes from the operator API alone, which asks everybody who they are. The page may load nothing
from elsewhere and run nothing that is written into it (``POLICY``): an id is chosen by strangers, and may look like
anything. Scripts cannot even turn text into markup (trusted types, and no policy that would make any).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable

from aiohttp import web

POLICY = "; ".join((
    "default-src 'none'", "script-src 'self'", "style-src 'self'", "connect-src 'self'", "img-src 'self' data:",
    "base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'", "require-trusted-types-for 'script'",
    "trusted-types 'none'",
))  # fmt: skip
HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    # Kept, but asked about each time: after an upgrade nobody runs half of the old page.
    "Cache-Control": "no-cache",
}
TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


@dataclass(frozen=True, slots=True)
class StaticFile:
    """One file, read once. ``etag`` is of its content."""

    content_type: str
    body: bytes
    etag: str


def static_files() -> Mapping[str, StaticFile]:
    """All there are, by their path below ``/console/``. Raises ``OSError`` where the package is not whole."""
    found = dict(_read(files(__package__) / "static", ""))
    if "index.html" not in found:
        raise FileNotFoundError("the console's index.html is missing from the package")
    return found


def console_routes(found: Mapping[str, StaticFile]) -> list[web.RouteDef]:
    """Routes for an aiohttp application; where each points is relative, so it may live below a prefix."""

    async def serve(request: web.Request) -> web.StreamResponse:
        file = found.get(request.match_info["path"] or "index.html")
        if file is None:
            raise web.HTTPNotFound(text="the console has no such file\n", headers=HEADERS)
        if any(one.value in {file.etag, "*"} for one in request.if_none_match or ()):
            answer = web.Response(status=304, headers=HEADERS)
        else:
            answer = web.Response(body=file.body, content_type=file.content_type, charset="utf-8", headers=HEADERS)
        answer.etag = file.etag
        return answer

    async def point(_: web.Request) -> web.StreamResponse:
        return web.Response(status=307, headers={**HEADERS, "Location": "console/"})

    return [web.get("/", point), web.get("/console", point), web.get("/console/{path:.*}", serve)]


def _read(folder: Traversable, prefix: str) -> Iterator[tuple[str, StaticFile]]:
    for one in folder.iterdir():
        path = f"{prefix}{one.name}"
        if one.is_dir():
            yield from _read(one, f"{path}/")
            continue
        content_type = TYPES.get(path[path.rfind(".") :])
        if content_type is not None:
            body = one.read_bytes()
            yield path, StaticFile(content_type, body, hashlib.sha256(body).hexdigest()[:32])
