"""The HTTP endpoint: `POST /v1/images` answers with a PNG, `GET /v1/health` with the state of the server."""

import asyncio
import io
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from PIL import Image
from starlette.exceptions import HTTPException
from starlette.responses import FileResponse, JSONResponse

from t2i.web.guard import SENTENCES, parsed
from t2i.web.openapi import ANSWERS, PICTURE, UPLOAD, UPLOADED, body_of
from t2i.web.order import Offer, Refused
from t2i.web.painter import Picture
from t2i.web.studio import Cancelled, Job, Studio

AT_ONCE = 2
"""Uploads that are decoded at the same time: the largest take a few hundred megabytes."""


def build(studio: Studio, offer: Offer) -> FastAPI:
    """The application without the page."""
    app = FastAPI(title="t2i", docs_url=None, redoc_url=None, openapi_url="/v1/openapi.json")

    @app.exception_handler(Refused)
    async def refused(request: Request, refusal: Refused) -> JSONResponse:
        return JSONResponse({"error": str(refusal)}, refusal.code, headers=refusal.headers)

    @app.exception_handler(HTTPException)
    async def failed(request: Request, error: HTTPException) -> JSONResponse:
        return JSONResponse({"error": SENTENCES.get(error.status_code, SENTENCES[400])}, error.status_code)

    @app.exception_handler(RequestValidationError)
    async def unreadable(request: Request, error: RequestValidationError) -> JSONResponse:
        return JSONResponse({"error": SENTENCES[422]}, 422)

    @app.get("/v1/health")
    async def health() -> dict[str, Any]:
        """Whether the server works, what it has loaded, and how many requests wait."""
        return {
            "status": "ok",
            "models": list(offer.models),
            "schedulers": list(offer.schedulers),
            "waiting": studio.waiting,
            "answered": studio.answered,
        }

    @app.get("/v1/images/{name}", response_class=Response, responses=PICTURE)
    async def image(name: str, download: bool = False) -> Response:
        """A picture that was made, with its recipe inside. Only names of pictures in the run folder are found."""
        path = _inside(studio.painter.folder, name)
        disposition = "attachment" if download else "inline"
        return FileResponse(path, media_type="image/png", filename=name, content_disposition_type=disposition)

    @app.post("/v1/images", response_class=Response, responses=ANSWERS, openapi_extra={"requestBody": body_of(offer)})
    async def images(request: Request) -> Response:
        """A PNG; of several pictures, one beside the other. Their own addresses are in the header X-Pictures."""
        studio.rate.count(request.client.host if request.client else "unknown")
        order = offer.read(parsed(await request.body()))
        job = studio.submit([order], owner=secrets.token_hex(8))
        try:
            await _finished(job, request)
        finally:
            studio.cancel(job)
        pictures = job.pictures[0]
        headers = {
            "X-Pictures": ", ".join(f"/v1/images/{picture.path.name}" for picture in pictures),
            "X-Seconds": f"{pictures[-1].seconds:.2f}",
        }
        return Response(await asyncio.to_thread(_png, pictures), media_type="image/png", headers=headers)

    _take_pictures(app, studio)
    return app


def _take_pictures(app: FastAPI, studio: Studio) -> None:
    """`POST /v1/pictures`: what orders may begin from."""
    decoding = asyncio.Semaphore(AT_ONCE)

    @app.post("/v1/pictures", responses=UPLOADED, openapi_extra={"requestBody": UPLOAD})
    async def pictures(request: Request) -> dict[str, Any]:
        """Takes a picture to begin from, or a mask; answers with its name, for `image` and `mask` of an order."""
        studio.rate.count(request.client.host if request.client else "unknown")
        content = await request.body()
        async with decoding:
            name, (width, height) = await asyncio.to_thread(studio.painter.uploads.keep, content)
        return {"name": name, "width": width, "height": height}


async def _finished(job: Job, request: Request) -> None:
    """Wait for a job, or raise Cancelled as soon as the client leaves: whatever arrives now says that it left."""
    done = asyncio.wrap_future(job.finished)
    done.add_done_callback(lambda future: future.cancelled() or future.exception())  # nobody may be left to read it
    gone = asyncio.ensure_future(request.receive())
    try:
        both: list[asyncio.Future[Any]] = [done, gone]
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        if not done.done():
            raise Refused("The client left.", 499)
        try:
            await done
        except Cancelled:
            raise Refused("The server is closing.", 503) from None
    finally:
        gone.cancel()


def _png(pictures: Sequence[Picture]) -> bytes:
    """The file itself, with its recipe; of several pictures a strip."""
    if len(pictures) == 1:
        return pictures[0].path.read_bytes()
    opened = [Image.open(picture.path) for picture in pictures]
    strip = Image.new("RGB", (sum(image.width for image in opened), opened[0].height))
    left = 0
    for image in opened:
        strip.paste(image, (left, 0))
        left += image.width
    file = io.BytesIO()
    strip.save(file, format="PNG")
    return file.getvalue()


def _inside(folder: Path, name: str) -> Path:
    """The picture of that name; Refused (404) when the folder itself holds none: the name is looked up, never joined."""
    for path in folder.glob("*.png"):
        if path.name == name:
            return path
    raise Refused("There is no such picture (any more).", 404)
