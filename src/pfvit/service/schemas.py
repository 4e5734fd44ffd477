"""The API as its callers see it: the shapes of answers, with examples, and the OpenAPI document made of them."""

from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel, Field

from pfvit.service.errors import KINDS, MEDIA_TYPE, TYPE
from pfvit.service.images import FORMATS
from pfvit.service.uploads import BINARY, FIELD, FORM

ABOUT = """Faces in pictures, the expression in each, and the same faces without it.

An expression is not a feeling: the labels are what people saw in small photos. Do not use it to judge anyone.
Pictures are held in memory while they are answered, and nothing of them is stored or logged.

Errors are problem details (RFC 9457, `application/problem+json`). Their `type` is `urn:pfvit:problem:` and one of the
names below; it keeps its meaning."""

SHARES = {"neutral": 0.0001, "happiness": 0.9999, "surprise": 0.0, "sadness": 0.0}
SHARES |= {"anger": 0.0, "disgust": 0.0, "fear": 0.0, "contempt": 0.0}


class Face(BaseModel):
    """One face in a picture, and what is read in it; the fields of `pfvit predict --json`."""

    source: str = Field(description="File name of the picture as it was sent, without folders", examples=["photo.jpg"])
    face: int = Field(ge=0, description="Which of the picture's faces, from 0, left to right", examples=[0])
    box: list[int] = Field(
        min_length=4, max_length=4, description="Left, top, width and height in pixels", examples=[[178, 62, 89, 112]]
    )
    score: float = Field(ge=0, le=1, description="How sure the detector is that this is a face", examples=[0.93])
    landmarks: list[list[float]] | None = Field(
        description="x and y of the eyes, nose and mouth corners, each pair from left to right; null with whole=true",
        examples=[[[200.0, 101.0], [247.0, 102.0], [220.0, 124.0], [198.0, 142.0], [239.0, 143.0]]],
    )
    emotion: str = Field(description="The most probable emotion", examples=["happiness"])
    unsure: bool = Field(description="Whether the estimated risk of a wrong answer is 25% or more", examples=[False])
    entropy: float = Field(ge=0, description="Spread of the probabilities: 0 certain, 1 all equal", examples=[0.0006])
    probabilities: dict[str, float] = Field(description="Of every emotion; they sum to 1", examples=[SHARES])


class Problem(BaseModel):
    """Problem details (RFC 9457)."""

    type: str = Field(description="What kind of problem: stays the same", examples=[TYPE + "not-an-image"])
    title: str = Field(examples=[KINDS["not-an-image"][1]])
    status: int = Field(examples=[KINDS["not-an-image"][0]])
    detail: str | None = Field(default=None, description="What to do about it", examples=["send one of JPEG, PNG"])


class ReadImage(BaseModel):
    """One picture, and the faces in it."""

    source: str = Field(examples=["photo.jpg"])
    width: int | None = Field(description="In pixels, as a person sees it; null if it cannot be read", examples=[512])
    height: int | None = Field(examples=[512])
    faces: list[Face]
    problem: Problem | None = Field(description="Why the picture cannot be read; null if it can", examples=[None])


class ReadAnswer(BaseModel):
    """What `POST /v1/read` gives."""

    model: str = Field(examples=["pfvit"])
    images: list[ReadImage]


class ModelAnswer(BaseModel):
    """What `GET /v1/model` gives."""

    name: str
    version: str = Field(description="Of the software")
    labels: list[str] = Field(description="The emotions, in the order of the probabilities")
    input_size: int = Field(description="Side in pixels of the square that the model sees; pictures may have any size")
    channels: int = Field(description="1 if it sees gray, 3 for colour")
    licence: str
    data: str = Field(description="What it was trained on")
    metrics: dict[str, Any] = Field(description="How well it did when it was exported")
    card: str | None = Field(description="The model card, Markdown; null if none lies beside the weights")


class Status(BaseModel):
    """What `/healthz` and `/readyz` give."""

    status: str = Field(examples=["ok"])


def answer(model: type[BaseModel]) -> dict[int | str, dict[str, Any]]:
    """Return OpenAPI's description of an answer of this shape."""
    return {200: {"model": model, "description": "The answer"}}


def body(several: bool) -> dict[str, Any]:
    """Return OpenAPI's description of a body with a picture, or with several."""
    file = {"type": "string", "format": "binary"}
    field = {"type": "array", "items": file, "minItems": 1} if several else file
    form = {"type": "object", "properties": {FIELD: field}, "required": [FIELD]}
    return {
        "requestBody": {
            "required": True,
            "description": "A picture as it is, or a form whose parts are all named `image`.",
            "content": {FORM: {"schema": form}, BINARY: {"schema": file}, "image/*": {"schema": file}},
        }
    }


def pictures() -> dict[str, Any]:
    """Return OpenAPI's description of an answer that is a picture."""
    content = {media_type: {"schema": {"type": "string", "format": "binary"}} for media_type in FORMATS}
    return {"description": "The picture, in the format that `Accept` prefers", "content": content}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return OpenAPI's description of the problems with these statuses."""
    answers: dict[int | str, dict[str, Any]] = {}
    for status in statuses:
        kinds = [(kind, title) for kind, (of, title) in KINDS.items() if of == status]
        examples = {kind: {"value": {"type": TYPE + kind, "title": title, "status": status}} for kind, title in kinds}
        answers[status] = {
            "description": "; ".join(f"`{kind}`: {title}" for kind, title in kinds),
            "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}, "examples": examples}},
        }
    return answers


#: What any request with a picture may meet.
REFUSALS = problems(400, 401, 403, 408, 413, 415, 421, 422, 429, 501)


def document(app: FastAPI, locked: bool) -> None:
    """Complete an app's OpenAPI document: problems, and the key if it is `locked`."""
    made = app.openapi

    def complete() -> dict[str, Any]:
        if app.openapi_schema is None:
            schema = made()
            schema["components"]["schemas"].setdefault("Problem", Problem.model_json_schema())
            if locked:
                schema["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
                for path, methods in schema["paths"].items():
                    for method in methods.values() if path.startswith("/v1/") else ():
                        method["security"] = [{"key": []}]
        assert app.openapi_schema is not None
        return app.openapi_schema

    app.openapi = complete
