"""The server: addresses, and which function answers each."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, Response
from starlette.exceptions import HTTPException

from molyneux.errors import MolyneuxError, PhotoError, UsageError
from molyneux.explore.asked import FromRun, PhotoAsked, Sample, Upload, read_asked
from molyneux.explore.guard import Guard
from molyneux.explore.live import Live
from molyneux.explore.study_photos import StudyPhotos
from molyneux.explore.uploads import MAX_BYTES, Uploads
from molyneux.pages import atlas_view
from molyneux.pages.joined import WEB
from molyneux.pages.views import Views

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
_JPEG = "image/jpeg"
_MOST_ASKED = 1_000_000
_PATIENCE = 4


def make_app(
    views: Views,
    token: str,
    live: Live | None = None,
    uploads: Uploads | None = None,
    pictures: StudyPhotos | None = None,
) -> Guard:
    """Return the server's application, guarded.

    Args:
        live: the model that can be asked; nothing is asked and nothing taken in without it.
        pictures: of studies' photos.
    """
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)

    @app.exception_handler(MolyneuxError)
    def _known(request: Request, error: MolyneuxError) -> JSONResponse:
        return _failed(404 if isinstance(error, UsageError) else 422, str(error))

    @app.exception_handler(RequestValidationError)
    def _no_such_value(request: Request, error: RequestValidationError) -> JSONResponse:
        return _failed(422, "the request has a value of another kind than it takes")

    @app.exception_handler(HTTPException)
    def _no_address(request: Request, error: HTTPException) -> JSONResponse:
        return _failed(error.status_code, "there is no such address")

    @app.exception_handler(Exception)
    def _unforeseen(request: Request, error: Exception) -> JSONResponse:
        return _failed(500, f"this was not foreseen ({type(error).__name__}); please report it")

    @app.get("/api/data/{key:path}")
    def data(key: str) -> JSONResponse:
        return JSONResponse(views.get(key))

    @app.get("/api/atlas/search")
    def search(
        q: str = "", layer: str = "", by: str = "", sign: str = "", limit: int = 50
    ) -> JSONResponse:
        atlas = views.first_atlas()
        if atlas is None:
            raise UsageError("no atlas of this model is at hand; `molyneux atlas build` makes one")
        return JSONResponse(atlas_view.search(atlas, q[:80], layer[:20], by[:20], sign, limit))

    def picture(asked: PhotoAsked) -> Response:
        if live is None:
            raise UsageError("there is no model here; start the explorer without --no-live")
        found = live.picture(asked)
        if found is not None:
            return Response(found, media_type=_JPEG)
        if isinstance(asked, Upload) and uploads is not None:
            return Response(uploads.get(asked.upload).shown, media_type=_JPEG)
        failed = live.state.get("live_error")
        return _failed(503, failed or "the model is still loading; ask again")

    @app.get("/api/image/upload/{name}")
    def uploaded(name: str) -> Response:
        return picture(Upload(name))

    @app.get("/api/image/sample/{name}")
    def sample(name: str) -> Response:
        return picture(Sample(name))

    @app.get("/api/image/{run}/{number}")
    def image(run: str, number: str) -> Response:
        asked = FromRun(run, _number(number))
        study = views.study(asked.run)
        if study is not None and pictures is not None:
            seen = None if live is None else live.picture(asked)
            return Response(seen or pictures.shown(study, asked.n), media_type=_JPEG)
        # A folder of `explain` has it as it was seen.
        return FileResponse(views.picture(asked.run, asked.n), media_type=_JPEG)

    if live is not None and uploads is not None:
        _take_questions(app, live, uploads)

    @app.get("/{name:path}")
    def page(name: str) -> Response:
        return _page(name or "index.html")

    return Guard(app, token)


def _take_questions(app: FastAPI, live: Live, uploads: Uploads) -> None:
    @app.post("/api/photos")
    async def give(request: Request) -> JSONResponse:
        content = await _read(request, MAX_BYTES)
        if content is None:
            return _failed(413, f"a photo has at most {MAX_BYTES // 1_000_000} MB; downscale it")
        name = request.headers.get("x-name", "")
        try:
            found = await run_in_threadpool(uploads.add, content, name)
        except PhotoError as error:
            return _failed(413 if str(error).startswith("refused") else 422, str(error))
        return JSONResponse(
            {
                "photo": found.id,
                "name": found.name,
                "url": f"/api/image/upload/{found.id}",
                "width": found.width,
                "height": found.height,
            }
        )

    @app.post("/api/jobs")
    async def ask(request: Request) -> JSONResponse:
        body = await _read(request, _MOST_ASKED)
        if body is None:
            return _failed(413, "that is more than can be asked at once")
        try:
            asked = read_asked(body)
        except UsageError as error:
            return _failed(422, str(error))
        return JSONResponse(await run_in_threadpool(live.ask, asked), 202)

    @app.get("/api/jobs/{name}")
    def job(name: str) -> JSONResponse:
        return JSONResponse(live.job(name))

    @app.post("/api/jobs/{name}/cancel")
    def cancel(name: str) -> JSONResponse:
        live.cancel(name)
        return JSONResponse({})


async def _read(request: Request, most: int) -> bytes | None:
    """Return a request's body; None if it is longer.

    What is too long is not kept, and read on for a while: a browser that is still sending would
    not hear the answer.
    """
    found, size = bytearray(), 0
    async for part in request.stream():
        size += len(part)
        if size <= most:
            found += part
        elif size > _PATIENCE * most:
            break
    return bytes(found) if size <= most else None


def _number(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 7:
        raise UsageError("there is no such photo")
    return int(text)


def _page(name: str) -> Response:
    """Return a file of the package's pages; only names that are listed there are opened."""
    listed = {path.relative_to(WEB).as_posix(): path for path in WEB.rglob("*")}
    path = listed.get(name)
    if path is None or path.suffix not in _TYPES or not path.is_file():
        return _failed(404, "there is no such address")
    return Response(path.read_bytes(), media_type=_TYPES[path.suffix])


def _failed(status: int, line: str) -> JSONResponse:
    body: dict[str, Any] = {"error": line}
    return JSONResponse(body, status)
