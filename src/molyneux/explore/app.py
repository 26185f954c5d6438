"""The server: addresses, and which function answers each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import FileResponse, JSONResponse, Response
from starlette.exceptions import HTTPException

from molyneux.errors import MolyneuxError, UsageError
from molyneux.explore.guard import Guard
from molyneux.explore.views import Views

PAGES = Path(__file__).with_name("pages")
_TYPES = {
    # By hand: what the machine's own table says of .js differs, and browsers insist on it.
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".woff2": "font/woff2",
    ".txt": "text/plain; charset=utf-8",
}


def make_app(views: Views, token: str) -> Guard:
    """Return the server's application, guarded."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)

    @app.exception_handler(MolyneuxError)
    def _known(request: Request, error: MolyneuxError) -> JSONResponse:
        return _failed(404 if isinstance(error, UsageError) else 422, str(error))

    @app.exception_handler(HTTPException)
    def _no_address(request: Request, error: HTTPException) -> JSONResponse:
        return _failed(error.status_code, "there is no such address")

    @app.exception_handler(Exception)
    def _unforeseen(request: Request, error: Exception) -> JSONResponse:
        return _failed(500, f"this was not foreseen ({type(error).__name__}); please report it")

    @app.get("/api/data/{key:path}")
    def data(key: str) -> JSONResponse:
        return JSONResponse(views.get(key))

    @app.get("/api/image/{run}/{number}")
    def image(run: str, number: int) -> Response:
        return FileResponse(views.picture(run, number), media_type="image/jpeg")

    @app.get("/{name:path}")
    def page(name: str) -> Response:
        return _page(name or "index.html")

    return Guard(app, token)


def _page(name: str) -> Response:
    """Return a file of the package's pages; only names that are listed there are opened."""
    listed = {path.relative_to(PAGES).as_posix(): path for path in PAGES.rglob("*")}
    path = listed.get(name)
    if path is None or path.suffix not in _TYPES or not path.is_file():
        return _failed(404, "there is no such address")
    return Response(path.read_bytes(), media_type=_TYPES[path.suffix])


def _failed(status: int, line: str) -> JSONResponse:
    body: dict[str, Any] = {"error": line}
    return JSONResponse(body, status)
