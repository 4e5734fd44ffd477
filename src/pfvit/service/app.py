"""The app: the page at /, the API under /v1, what operators ask for, all documented in OpenAPI."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, TypeVar

from fastapi import FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import HTMLResponse, Response
from starlette.staticfiles import StaticFiles

from pfvit import __version__
from pfvit.config import Serve
from pfvit.data.images import Photo
from pfvit.errors import without_frames
from pfvit.inference.reading import Reading
from pfvit.service import api_docs, metrics, schemas
from pfvit.service.batching import Engine, Job
from pfvit.service.errors import Problem, overloaded, to_json
from pfvit.service.fair_queue import address, caller_of
from pfvit.service.images import View, accepted, drawing
from pfvit.service.middleware import Guard, is_loopback
from pfvit.service.routes import LeanRoute
from pfvit.service.uploads import Room, Upload, uploads
from pfvit.utils.cores import cores
from pfvit.utils.text import parsed
from pfvit.weights import SHIPPED

T = TypeVar("T")

PAGE = Path(__file__).parents[1] / "page"
KEY = "PFVIT_API_KEY"
#: Wrong parameters that an answer names.
MOST_TOLD = 10
#: The model card lies beside the weights, or in the source tree that is being worked on.
CARD, SOURCE = "MODEL_CARD.md", Path(__file__).parents[3]
JSON = "application/json"
STATUS_KINDS = {404: "not-found", 405: "method-not-allowed"}


class ReadQuery(BaseModel):
    """The query of `POST /v1/read`."""

    model_config = ConfigDict(extra="forbid")

    whole: bool = Field(False, description="Take the picture as one face, already cropped: no detection")
    min_score: float = Field(0.0, ge=0, le=1, allow_inf_nan=False, description="Leave out faces less sure than this")


class PokerQuery(BaseModel):
    """The query of `POST /v1/poker`."""

    model_config = ConfigDict(extra="forbid")

    strength: float = Field(
        1.0, ge=-1, le=1, allow_inf_nan=False, description="Share of the expression to remove; -1 exaggerates"
    )
    face: Annotated[int, Field(ge=0, le=9999)] | Literal["all"] = Field(
        0, description="Which face, from 0; all with view=photo"
    )
    view: View = Field("poker", description="The crop, what the model draws of it, or the whole photo")
    whole: bool = Field(False, description="Take the picture as one face, already cropped: no detection")


class Service(NamedTuple):
    """What the routes share."""

    config: Serve
    engine: Engine
    counted: metrics.Measures
    room: Room

    async def answers(self, request: Request, sent: list[Upload], job: partial[Job]) -> list[Any]:
        """Return what comes of each picture, in order; an error is a Problem in its place. `sent` is emptied."""
        jobs = [job(one) for one in sent]
        sent.clear()  # each file goes from memory when it is decoded
        return await while_wanted(request, self.engine.run(jobs), self.config.limits.seconds, len(jobs))


def create_app(config: Serve) -> FastAPI:
    """Return the ASGI app; it loads its weights here, and is ready when its lifespan has started."""
    engine = Engine(config.weights, max(1, (config.threads or cores()) // config.workers), config.limits)
    counted = metrics.Measures(several=metrics.FOLDER in os.environ)
    room = Room(config.limits)
    key = os.environ.get(KEY, "").strip() or None

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        engine.start()
        yield
        await asyncio.to_thread(engine.stop)

    app = FastAPI(
        title="pfvit",
        version=__version__,
        description=schemas.ABOUT,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.router.route_class = LeanRoute
    schemas.document(app, locked=key is not None)
    _answer_problems(app, counted)
    service = Service(config, engine, counted, room)
    _add_reading(app, service)
    _add_drawing(app, service)
    _add_state(app, service)
    _add_docs(app)
    # What is no route is a file of the page. Mounted at / it would also take what a route refuses, such as a GET.
    app.router.default = StaticFiles(directory=PAGE, html=True, check_dir=False)
    app.add_middleware(
        Guard,
        counted=counted,
        admits=engine.admits,
        key=key,
        hosts=config.hosts if is_loopback(config.host) else None,
    )
    return app


def _add_reading(app: FastAPI, service: Service) -> None:
    @app.post(
        "/v1/read",
        responses={**schemas.answer(schemas.ReadAnswer), **schemas.REFUSALS},
        response_class=Response,
        openapi_extra=schemas.body(several=True),
    )
    async def read(request: Request, query: Annotated[ReadQuery, Query()]) -> Response:
        """Find the faces in one or many pictures, and read the expression of each."""

        def answer_of(photo: Photo, faces: list[Reading]) -> dict[str, object]:
            height, width = photo.pixels.shape[:2]
            kept = [face.to_dict() for face in faces if face.score >= query.min_score]
            return {"width": width, "height": height, "faces": kept, "problem": None}

        caller = caller_of(request.scope)
        job = partial(Job, whole=query.whole, finish=answer_of, caller=caller)
        with service.room.hold(address(caller[0])) as take:
            with service.engine.expecting():
                sent = await uploads(request, service.config.limits, service.config.limits.images, take)
            names = [one.source for one in sent]
            made = await service.answers(request, sent, job)
        images = []
        for name, answer in zip(names, made, strict=True):
            if isinstance(answer, Problem):
                if len(names) == 1:
                    raise answer
                service.counted.problem(answer.kind)
                answer = {"width": None, "height": None, "faces": [], "problem": answer.to_dict()}
            images.append({"source": name, **answer})
        service.counted.faces.inc(sum(len(image["faces"]) for image in images))
        return Response(to_json({"model": service.engine.reader.recogniser.name, "images": images}), media_type=JSON)


def _add_drawing(app: FastAPI, service: Service) -> None:
    @app.post(
        "/v1/poker",
        responses={200: schemas.pictures(), **schemas.problems(406), **schemas.REFUSALS},
        response_class=Response,
        openapi_extra=schemas.body(several=False),
    )
    async def poker(request: Request, query: Annotated[PokerQuery, Query()]) -> Response:
        """Remove the expression from a face: PNG, WebP or JPEG, by `Accept`."""
        media_types = accepted(request.headers.get("accept", ""))
        if query.face == "all" and query.view != "photo":
            raise Problem("bad-parameter", "face=all goes with view=photo")
        finish = drawing(query.view, query.face, query.strength, media_types)
        caller = caller_of(request.scope)
        job = partial(Job, whole=query.whole, finish=finish, draws=True, caller=caller)
        with service.room.hold(address(caller[0])) as take:
            with service.engine.expecting():
                sent = await uploads(request, service.config.limits, 1, take)
            (made,) = await service.answers(request, sent, job)
        if isinstance(made, Problem):
            raise made
        media_type, content = made
        return Response(content, headers={"Vary": "Accept"}, media_type=media_type)


def _add_state(app: FastAPI, service: Service) -> None:
    """Add the routes that say what answers here, whether it can, and what it has done."""

    @app.get(
        "/v1/model",
        responses={**schemas.answer(schemas.ModelAnswer), **schemas.problems(401, 403, 421)},
    )
    async def model(request: Request) -> Response:
        """Tell which model answers: its labels, licence, training data, metrics and card."""
        return Response(to_json(_about(service.engine)), media_type=JSON)

    @app.get(
        "/healthz",
        responses={**schemas.answer(schemas.Status), **schemas.problems(403, 421)},
    )
    async def health(request: Request) -> Response:
        """Tell that the process lives."""
        return Response(to_json({"status": "ok"}), media_type=JSON)

    @app.get(
        "/readyz",
        responses={**schemas.answer(schemas.Status), **schemas.problems(403, 421, 503)},
    )
    async def ready(request: Request) -> Response:
        """Tell whether it can answer now."""
        if not service.engine.ready:
            raise Problem("not-ready")
        return Response(to_json({"status": "ok"}), media_type=JSON)

    @app.get("/metrics", include_in_schema=False)
    async def metrics_text(request: Request) -> Response:
        service.counted.depth.set(service.engine.depth)
        return Response(service.counted.text(), media_type=metrics.MEDIA_TYPE)


def _add_docs(app: FastAPI) -> None:
    @app.get("/docs", include_in_schema=False)
    async def docs(request: Request) -> Response:
        return HTMLResponse(api_docs.page(app.openapi(), str(request.base_url).rstrip("/")))

    @app.get("/docs.css", include_in_schema=False)
    async def style(request: Request) -> Response:
        return Response(api_docs.STYLE, media_type="text/css")


async def while_wanted(request: Request, work: Awaitable[T], seconds: float, pictures: int) -> T:
    """Return what comes of some work, which is cancelled if the caller hangs up or it takes too long."""
    me = asyncio.current_task()
    assert me is not None
    gone = asyncio.ensure_future(request.receive())  # comes only when nobody waits any more

    def cancel(_: object) -> None:
        me.cancel()

    gone.add_done_callback(cancel)
    try:
        async with asyncio.timeout(seconds):
            return await work
    except TimeoutError:
        if pictures == 1:
            raise overloaded() from None
        raise Problem("takes-too-long", f"more than {seconds:g} s: send fewer images") from None
    except asyncio.CancelledError:
        if gone.done() and not gone.cancelled():
            me.uncancel()
            raise ClientDisconnect from None
        raise
    finally:
        gone.remove_done_callback(cancel)
        gone.cancel()


def _answer_problems(app: FastAPI, counted: metrics.Measures) -> None:
    """Answer everything that goes wrong with problem details."""

    def respond(problem: Problem) -> Response:
        counted.problem(problem.kind)
        return without_frames(problem).response()

    async def of_ours(request: Request, problem: Exception) -> Response:
        assert isinstance(problem, Problem)
        return respond(problem)

    async def of_parameters(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        told = [f"{one['loc'][0]}: {one['msg']}" for one in error.errors()[:MOST_TOLD]]  # a query may have thousands
        return respond(Problem("bad-parameter", "; ".join(told)))

    async def of_routes(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        return respond(Problem(STATUS_KINDS.get(error.status_code, "bad-request"), headers=error.headers))

    app.add_exception_handler(Problem, of_ours)
    app.add_exception_handler(RequestValidationError, of_parameters)
    app.add_exception_handler(HTTPException, of_routes)


def _about(engine: Engine) -> dict[str, Any]:
    recogniser = engine.reader.recogniser
    cards = [recogniser.path.with_name(CARD)]
    if recogniser.path.parent == SHIPPED.parent:
        cards.append(SOURCE / CARD)
    return {
        "name": recogniser.name,
        "version": __version__,
        "labels": list(recogniser.labels),
        "input_size": recogniser.size,
        "channels": recogniser.channels,
        "licence": recogniser.about.get("pfvit.license", ""),
        "data": recogniser.about.get("pfvit.data", ""),
        "metrics": _metrics(recogniser.about.get("pfvit.metrics") or "{}"),
        "card": next((card.read_text(encoding="utf-8", errors="replace") for card in cards if card.is_file()), None),
    }


def _metrics(said: str) -> object:
    """Return the figures that a weight file gives; none if they cannot be read."""
    with suppress(ValueError, RecursionError):
        figures = parsed(said)
        to_json(figures)  # not NaN, say, which Python reads
        return figures
    return {}
