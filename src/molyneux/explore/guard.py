"""Who may ask: pages of this server in a browser on this machine, with the token it printed.

A page of another origin can send requests here without being asked. It cannot set the token's
header, nor read an answer; one that had its own name resolve to this machine (DNS rebinding) is
told apart by the Host that its browser sends.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

# Any port: behind an ssh tunnel the browser's is another than the server's.
_LOOPBACK = re.compile(r"(localhost|127\.0\.0\.1|\[::1\])(:\d{1,5})?", re.IGNORECASE | re.ASCII)
CONTENT_SECURITY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": CONTENT_SECURITY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",  # the first address holds the token
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}
_DRAINED = 65_536
_PICTURES = "/api/image/"


def new_token() -> str:
    """Return a token that cannot be guessed."""
    return secrets.token_urlsafe(24)


@dataclass(frozen=True)
class Guard:
    """Lets through what a page of this server asks; everything else is answered with 403.

    Attributes:
        app: what answers.
        token: what every request for anything of the user's must name.
    """

    app: ASGIApp
    token: str

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or pass it on."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":  # no web sockets here
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = {name.encode(): value.encode() for name, value in HEADERS.items()}
                rest = [pair for pair in message["headers"] if pair[0].lower() not in own]
                message["headers"] = [*rest, *own.items()]
            await send(message)

        refused = self._refused(scope)
        if refused is None:
            await self.app(scope, receive, guarded)
            return
        await _drain(receive)
        body = json.dumps({"error": refused}).encode()
        headers = [(b"content-type", b"application/json"), (b"connection", b"close")]
        await guarded({"type": "http.response.start", "status": 403, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    def _refused(self, scope: Scope) -> str | None:
        """Return why a request is refused; None if it is not."""
        headers: Mapping[str, list[str]] = _by_name(scope["headers"])
        hosts, origins = headers.get("host", []), headers.get("origin", [])
        if len(hosts) != 1 or not _LOOPBACK.fullmatch(hosts[0]):
            return "this address is answered at localhost alone; open the one that was printed"
        if len(origins) > 1 or (origins and origins[0].lower() != f"http://{hosts[0].lower()}"):
            return "pages of other addresses may not ask here"
        if headers.get("sec-fetch-site", ["none"])[0] in ("cross-site", "same-site") and (
            scope["path"].startswith("/api/")
        ):
            return "pages of other addresses may not ask here"
        if not scope["path"].startswith("/api/"):
            return None if scope["method"] in ("GET", "HEAD") else "nothing is sent here"
        given = headers.get("x-token", [])
        # An <img> cannot send a header.
        if scope["method"] == "GET" and scope["path"].startswith(_PICTURES):
            asked = parse_qs(scope["query_string"].decode("latin-1"))
            given = [*given, *asked.get("token", [])]
        if len(given) != 1 or not secrets.compare_digest(given[0].encode(), self.token.encode()):
            return "the token is missing or of another run; open the address that was printed"
        return None


async def _drain(receive: Receive) -> None:
    """Read a small body to its end: a client that is still sending would not hear the answer."""
    left = _DRAINED
    while left > 0:
        message = await receive()
        left -= len(message.get("body", b""))
        if message["type"] != "http.request" or not message.get("more_body", False):
            return


def _by_name(headers: list[tuple[bytes, bytes]]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, value in headers:
        found.setdefault(name.decode("latin-1").lower(), []).append(value.decode("latin-1"))
    return found
