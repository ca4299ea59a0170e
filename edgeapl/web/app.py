"""The routes of the page."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated

from fastapi import FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, PlainTextResponse, StreamingResponse
from starlette.exceptions import HTTPException

from edgeapl.errors import ConfigError, EdgeAplError, IdentifierUsed, InputError, UsageError
from edgeapl.journal import Opinion, SignOff
from edgeapl.station.access import StationAccess
from edgeapl.web.authorisation import AccessMiddleware, PageAccess
from edgeapl.web.events import SILENT_S, Feed
from edgeapl.web.forms import field_of, form_of
from edgeapl.web.frame_picture import FramePicture
from edgeapl.web.metrics import CONTENT_TYPE, metrics_text
from edgeapl.web.pages import PageRenderer, from_handle
from edgeapl.web.reports import REPORT_POLICY, report_file
from edgeapl.web.station_calls import StationCalls
from edgeapl.wording.printable import printable

MOST_STREAMS = 512
"""Most browsers with an open event stream."""
COMMAND_S = 60.0
"""Longest time for a command to the station, seconds: a frame's 45 s and some more."""
MOST_IDENTIFIER = 120
MOST_PERSON = 12
MOST_CELL = 2**31
MOST_RECORD = 128

STATIC = Path(__file__).parent / "static"

Number = Annotated[int, Query(ge=-1, le=2**62)]


class Page:
    """State that the routes share.

    station : the station. renderer : renders HTML. feed : polls the station. query : reads from it.
    command : makes it do something. streams : number of open event streams.
    """

    def __init__(self, station: StationAccess) -> None:
        self.station = station
        self.renderer = PageRenderer()
        self.feed = Feed(station, self.renderer.fragments)
        self.query = StationCalls()
        # Closing a slide takes as long as its last frames; pictures that hang do not block it.
        self.command = StationCalls(most=4, timeout_s=COMMAND_S)
        self.streams = 0

    def silence(self) -> dict[str, str]:
        """Return the fragment that says that the station is silent, if it is."""
        silent = self.feed.silent_s()
        return {"trouble": self.renderer.silence(silent)} if silent > SILENT_S else {}


def create_app(station: StationAccess, access: PageAccess) -> FastAPI:
    """Create the page of a station; the access middleware checks every request first.

    `app.state.page.feed` is the page's feed, started and stopped with the application.
    """
    page = Page(station)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        page.feed.start()
        yield
        page.feed.stop()

    app = FastAPI(lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)
    app.state.page = page
    app.add_middleware(AccessMiddleware, access=access)
    _add_static(app)
    _add_errors(app, page)
    _add_page(app, page)
    _add_pictures(app, page)
    _add_commands(app, page)
    _add_signing(app, page)
    _add_flags(app, page)
    _add_records(app, page)
    return app


def _add_static(app: FastAPI) -> None:
    """Serve our own files from memory: no requested name ever reaches the disk."""
    kinds = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
    served = {
        path.name: (path.read_bytes(), kinds.get(path.suffix, "text/plain"))
        for path in STATIC.iterdir()
    }

    @app.get("/static/{name}")
    async def static(name: str) -> Response:
        if name not in served:
            raise HTTPException(404)
        data, kind = served[name]
        return Response(data, media_type=kind)

    @app.get("/favicon.ico")
    async def icon() -> Response:
        # Browsers request it for reports, which name no icon.
        return await static("icon.svg")


def _add_page(app: FastAPI, page: Page) -> None:
    @app.get("/")
    async def screen() -> HTMLResponse:
        # Without calling the station, so that the page opens even when it hangs.
        return HTMLResponse(page.renderer.page({**page.feed.state.fragments, **page.silence()}))

    @app.get("/events")
    async def events() -> Response:
        if page.streams >= MOST_STREAMS:
            return PlainTextResponse("too many pages are open: close some", 503)
        return StreamingResponse(_counted(page), media_type="text/event-stream")


async def _counted(page: Page) -> AsyncIterator[bytes]:
    page.streams += 1
    try:
        async for event in page.feed.stream(page.renderer.silence):
            yield event
    finally:
        page.streams -= 1


def _add_pictures(app: FastAPI, page: Page) -> None:
    examined_picture = FramePicture(page.station, page.feed, page.query)
    no_picture = (STATIC / "no-picture.svg").read_bytes()

    def picture(found: tuple[int, bytes] | None, after: int) -> Response:
        if found is None:
            return Response(status_code=204, headers={"x-picture": "none"})
        if found[0] == after:
            return Response(status_code=204)
        return Response(found[1], media_type="image/jpeg", headers={"x-picture": str(found[0])})

    @app.get("/live.jpg")
    async def live(after: Number = -1) -> Response:
        return picture(await page.query(page.station.live_jpeg), after)

    @app.get("/examined.jpg")
    async def examined(after: Number = -1) -> Response:
        return picture(await examined_picture.newest(), after)

    @app.get("/cell.jpg")
    async def cell(slide: str, cell: Annotated[int, Query(ge=0, le=MOST_CELL)]) -> Response:
        found = await page.query(page.station.cell_jpeg, from_handle(slide), cell)
        if found is None:
            return Response(no_picture, media_type="image/svg+xml")
        return Response(found, media_type="image/jpeg")


def _add_commands(app: FastAPI, page: Page) -> None:
    def done(text: str) -> HTMLResponse:
        return HTMLResponse(page.renderer.message(text, bad=False))

    @app.post("/slide/start")
    async def start(request: Request) -> Response:
        form = await form_of(request)
        slide = field_of(form, "slide", MOST_IDENTIFIER)
        try:
            again = (True,) if form.get("again") == "1" else ()
            await page.command(page.station.start_slide, slide, *again)
        except IdentifierUsed as used:
            return HTMLResponse(
                page.renderer.ask_again(slide, f"{used.what.capitalize()}: {used.which}")
            )
        return done(f"Slide {slide} is started.")

    @app.post("/slide/go-on")
    async def go_on(request: Request) -> Response:
        slide = from_handle(field_of(await form_of(request), "slide", 2000))
        await page.command(page.station.resume_slide, slide)
        return done(f"Slide {slide} continues with the frames under the camera.")

    @app.post("/slide/close")
    async def close() -> Response:
        await page.command(page.station.close_slide)
        return done("The slide is being closed: what was captured is judged and recorded.")

    @app.post("/cell")
    async def reclassify(request: Request) -> Response:
        form = await form_of(request)
        slide, label = from_handle(field_of(form, "slide", 2000)), field_of(form, "label", 2000)
        number = field_of(form, "cell", 10)
        if not (number.isascii() and number.isdigit()):
            raise UsageError("cell is not a number", printable(number), "load the page again")
        label = from_handle(label)
        person = field_of(form, "person", MOST_PERSON)
        record = await page.command(page.station.reclassify, slide, int(number), label, person)
        return done(f"Cell {number} is called {label} by {person}: recorded as {record[:16]}.")


def _add_flags(app: FastAPI, page: Page) -> None:
    @app.post("/flag/acknowledge")
    async def acknowledge(request: Request) -> Response:
        form = await form_of(request)
        record = field_of(form, "record", MOST_RECORD)
        person = field_of(form, "person", MOST_PERSON)
        row = await page.command(page.station.acknowledge, record, person)
        text = f"The flag was seen by {person}: recorded as {row[:16]}."
        return HTMLResponse(page.renderer.message(text, bad=False))


def _add_signing(app: FastAPI, page: Page) -> None:
    @app.post("/sign-off")
    async def sign_off(request: Request) -> Response:
        form = await form_of(request)
        record = field_of(form, "record", 128)
        texts = {name: form.get(name, "").strip() for name in ("person", "comment", "label")}
        opinion = opinion_of(form.get("opinion", ""))
        if opinion is not Opinion.OVERRULE:
            texts["label"] = ""  # typed before another choice was made
        signed = SignOff(opinion, **texts)
        row = await page.command(page.station.sign_off, record, signed)
        return HTMLResponse(
            page.renderer.message(f"Signed: {signed.words}. Recorded as {row[:16]}.", bad=False)
        )


def opinion_of(text: str) -> Opinion:
    """Parse the choice of a person. Raises UsageError."""
    try:
        return Opinion(text)
    except ValueError as error:
        raise UsageError(
            "nothing is chosen", "", "confirm, overrule or ask for a repeat"
        ) from error


def _add_records(app: FastAPI, page: Page) -> None:
    async def serve(record: str, path: str) -> Response:
        data, kind = await page.query(report_file, page.station, record, path)
        return Response(data, media_type=kind, headers={"content-security-policy": REPORT_POLICY})

    @app.get("/report/{record}/")
    async def report(record: str) -> Response:
        return await serve(record, "")

    @app.get("/report/{record}/overlays/{name}")
    async def overlay(record: str, name: str) -> Response:
        return await serve(record, name)

    @app.get("/metrics")
    async def metrics() -> Response:
        values = await page.query(page.station.metrics)
        return Response(metrics_text(values), media_type=CONTENT_TYPE)


def _add_errors(app: FastAPI, page: Page) -> None:
    """Answer every error with one line: HTML for commands, plain text otherwise."""

    def answer(request: Request, text: str, status: int) -> Response:
        if request.method == "POST":
            return HTMLResponse(page.renderer.message(text, bad=True), status)
        return PlainTextResponse(printable(text), status)

    @app.exception_handler(EdgeAplError)
    async def failed(request: Request, error: EdgeAplError) -> Response:
        status = {UsageError: 422, ConfigError: 500, InputError: 404}.get(type(error), 503)
        return answer(request, str(error), status)

    @app.exception_handler(RequestValidationError)
    async def not_understood(request: Request, _: RequestValidationError) -> Response:
        return answer(request, "request is not understood: load the page again", 400)

    @app.exception_handler(HTTPException)
    async def refused(request: Request, error: HTTPException) -> Response:
        return answer(request, f"{error.detail}", error.status_code)
