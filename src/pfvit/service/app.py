"""The app: the page at /, the API under /v1, what operators ask for, all documented in OpenAPI."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, TypeVar

from fastapi import FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, Response
from starlette.staticfiles import StaticFiles

from pfvit import __version__
from pfvit.config import Serve
from pfvit.data.pictures import Pixels
from pfvit.reader import Reading
from pfvit.service import measures
from pfvit.service.bodies import uploads
from pfvit.service.drawings import View, Which, accepted, drawing
from pfvit.service.engine import Engine, Job, overloaded
from pfvit.service.guard import Guard
from pfvit.service.problems import Problem, to_json
from pfvit.weights import cores

T = TypeVar("T")

PAGE = Path(__file__).parents[1] / "page"
KEY = "PFVIT_API_KEY"
STATUS_KINDS = {404: "not-found", 405: "method-not-allowed"}


def create_app(config: Serve) -> FastAPI:
    """Return the ASGI app; it loads its weights when it starts."""
    engine = Engine(config.weights, max(1, (config.threads or cores()) // config.workers), config.limits)
    counted = measures.Measures(several="PROMETHEUS_MULTIPROC_DIR" in os.environ)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        engine.start()
        yield
        await asyncio.to_thread(engine.stop)

    app = FastAPI(title="pfvit", version=__version__, lifespan=lifespan, docs_url=None, redoc_url=None)

    def tell(problem: Problem) -> Response:
        counted.problem(problem.kind)
        return problem.response()

    @app.exception_handler(Problem)
    async def of_ours(request: Request, problem: Problem) -> Response:
        return tell(problem)

    @app.exception_handler(RequestValidationError)
    async def of_parameters(request: Request, error: RequestValidationError) -> Response:
        told = [{"parameter": str(one["loc"][-1]), "detail": one["msg"]} for one in error.errors()]
        return tell(Problem("bad-parameter", "; ".join(f"{one['parameter']}: {one['detail']}" for one in told)))

    @app.exception_handler(HTTPException)
    async def of_routes(request: Request, error: HTTPException) -> Response:
        return tell(Problem(STATUS_KINDS.get(error.status_code, "bad-request"), headers=error.headers))

    @app.exception_handler(ClientDisconnect)
    async def of_nobody(request: Request, error: ClientDisconnect) -> Response:
        return tell(Problem("bad-request"))  # nobody reads it

    @app.post("/v1/read")
    async def read(
        request: Request,
        whole: Annotated[bool, Query()] = False,
        min_score: Annotated[float, Query(ge=0, le=1, allow_inf_nan=False)] = 0.0,
    ) -> Response:
        def finish(photo: Pixels, faces: list[Reading]) -> dict[str, object]:
            kept = [face.to_dict() for face in faces if face.score >= min_score]
            return {"width": photo.shape[1], "height": photo.shape[0], "faces": kept, "problem": None}

        with engine.expecting():
            sent = await uploads(request, config.limits, config.limits.images)
        jobs = [Job(one.source, one.content, whole, finish) for one in sent]
        answers = await while_connected(request, engine.run(jobs))
        if len(answers) == 1 and isinstance(answers[0], Problem):
            raise answers[0]
        images = []
        for one, answer in zip(sent, answers, strict=True):
            if isinstance(answer, Problem):
                counted.problem(answer.kind)
                answer = {"width": None, "height": None, "faces": [], "problem": answer.to_dict()}
            images.append({"source": one.source, **answer})
        counted.faces.inc(sum(len(image["faces"]) for image in images))
        return Response(
            to_json({"model": engine.reader.recogniser.name, "images": images}), 200, None, "application/json"
        )

    @app.post("/v1/poker")
    async def poker(
        request: Request,
        strength: Annotated[float, Query(ge=-1, le=1, allow_inf_nan=False)] = 1.0,
        face: Annotated[Which, Query()] = 0,
        view: Annotated[View, Query()] = "poker",
        whole: Annotated[bool, Query()] = False,
    ) -> Response:
        media_type = accepted(request.headers.get("accept", ""))
        if face == "all" and view != "photo":
            raise Problem("bad-parameter", "face=all goes with view=photo")
        with engine.expecting():
            (sent,) = await uploads(request, config.limits, 1)
        job = Job(sent.source, sent.content, whole, drawing(view, face, strength, media_type), draws=True)
        (answer,) = await while_connected(request, engine.run([job]))
        if isinstance(answer, Problem):
            raise answer
        return Response(answer, 200, {"Vary": "Accept"}, media_type)

    @app.get("/v1/model")
    async def model() -> Response:
        about = engine.reader.recogniser.about
        return JSONResponse({"name": engine.reader.recogniser.name, "about": dict(about)})

    @app.get("/healthz")
    async def health() -> Response:
        return JSONResponse({"status": "ok"})

    @app.get("/readyz")
    async def ready() -> Response:
        return JSONResponse({"status": "ok"})

    @app.get("/metrics")
    async def metrics() -> Response:
        counted.depth.set(engine.depth)
        return Response(counted.text(), 200, None, measures.MEDIA_TYPE)

    app.mount("/", StaticFiles(directory=PAGE, html=True, check_dir=False))
    loopback = config.host in ("127.0.0.1", "::1", "localhost")
    app.add_middleware(
        Guard, full=lambda: engine.full, refusal=overloaded, key=os.environ.get(KEY) or None,
        hosts=config.hosts if loopback else None,
    )  # fmt: skip
    return app


async def while_connected(request: Request, work: Awaitable[T]) -> T:
    """Return what comes of some work, which is cancelled if the caller hangs up."""
    task = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(request.receive())
    try:
        await asyncio.wait((task, gone), return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            task.cancel()
            raise ClientDisconnect
        return task.result()
    finally:
        gone.cancel()
