"""The OpenAPI 3.1 document, from the table of operations."""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from chipmunk import __version__
from chipmunk.credentials import COOKIE
from chipmunk.errors import Problem
from chipmunk.operations import models, shapes
from chipmunk.operations.table import GROUPS, OPERATIONS, Operation

Document = dict[str, Any]

REF = "#/components/schemas/{model}"
NAME: Document = {"type": "string", "pattern": shapes.NAME_PATTERN}
IN_PATH: dict[str, Document] = {
    "user": NAME,
    "flow": NAME,
    "app": NAME,
    "backend": NAME,
    "webhook": NAME,
    "entrance": {"type": "string"},
    "token": {"type": "string", "description": "As the `presigned_url_str` has it."},
    "recipient": {"type": "string", "description": "As the mail has it."},
    "id": {"type": "string", "description": "The signed id, as a `url` has it."},
    "quality": {"type": "integer", "minimum": 0, "maximum": 6},
}
IN_QUERY: dict[str, tuple[str, Document]] = {
    "cursor": ("`next` of the page before.", {"type": "string"}),
    "limit": ("How many, at most.", {"type": "integer", "minimum": 1, "maximum": 200, "default": 50}),
    "user": ("Whose.", NAME),
    "flow": ("Which flow; an upload may name several.", NAME),
    "app": ("Whose: the first app, where none is named; of the audit log all.", NAME),
    "trashed": (
        "`true`: what is in the trash, of the app or of the calling user.",
        {"type": "string", "enum": ["true", "false"], "default": "false"},
    ),
    "media": ("Which media; it need not be there any more.", {"type": "string", "pattern": shapes.ID_PATTERN}),
    "filename": ("What people call the file.", {"type": "string"}),
    "imgf": ("The format: `jpeg`, `png`, `gif`, `webp`, …", {"type": "string"}),
    "imgn": ("What people call it.", {"type": "string"}),
    "f": ("Flows, between commas; none: `general`.", {"type": "string"}),
    "ct": ("The type of the client; says nothing.", {"type": "string"}),
    "size": ("How many bytes it has.", {"type": "integer", "minimum": 1}),
    "method": ("How it is to be sent, where the store has both.", {"type": "string", "enum": ["put", "post"]}),
    "parts": ("1: in parts, where the store has such.", {"type": "integer", "enum": [0, 1]}),
    "imgid": ("Which upload.", {"type": "string", "pattern": shapes.ID_PATTERN}),
    "images_job_id_str": ("Which job.", {"type": "string", "pattern": shapes.ID_PATTERN}),
    "fname": ("Which flow; none: `general`.", NAME),
    "pg_index": ("Which page, from 0 on.", {"type": "integer", "minimum": 0, "default": 0}),
    "pg_size": ("How many images a page has.", {"type": "integer", "minimum": 1, "maximum": 200, "default": 20}),
    "img_id": ("Which image.", {"type": "string"}),
    "gfimg_id": ("Which image.", {"type": "string"}),
    "orig_url": ("Where it was fetched from, in place of its id: the newest.", {"type": "string"}),
    "q": ("Which quality.", {"type": "integer", "minimum": 0, "maximum": 6, "default": 6}),
    "search_media.q": (
        'Words that all are in it; `"a phrase"`, `-without`, `one or another`, `begin*`.',
        {"type": "string", "maxLength": 500},
    ),
    "tag": ("A tag that it has; of several, all.", {"type": "array", "maxItems": 50, "items": {"type": "string"}}),
    "type": ("Its MIME type.", {"type": "string"}),
    "kind": ("What it is.", {"type": "string", "enum": ["image", "audio", "video", "file"]}),
    "after": ("Stored then or later: a time, or a date.", {"type": "string"}),
    "before": ("Stored earlier: a time, or a date.", {"type": "string"}),
    "larger": ("Of so many bytes, or more.", {"type": "integer", "minimum": 0}),
    "smaller": ("Of fewer bytes.", {"type": "integer", "minimum": 0}),
    "review": ("What came of an unsafe score.", {"type": "string", "enum": ["flagged", "held", "approved"]}),
    "colour": ("Like its mean colour: `#rrggbb`.", {"type": "string", "pattern": "^#?[0-9A-Fa-f]{6}$"}),
    "distance": ("How many of 64 bits may be others.", {"type": "integer", "minimum": 0, "maximum": 11, "default": 7}),
    "lost": (
        "`true`: the store is gone for good, so what lies elsewhere too is forgotten here.",
        {"type": "string", "enum": ["true", "false"], "default": "false"},
    ),
    "state": ("Those that wait, or dead letters.", {"type": "string", "enum": ["pending", "dead"]}),
    "next": ("Where to send the browser: a path here, or a page of an allowed origin.", {"type": "string"}),
}
ABOUT = """\
Private media for other people's apps. Times are RFC 3339 in UTC, sizes are bytes. Authorization beats the cookie and
never falls back to it; a call by cookie that changes anything needs `Sec-Fetch-Site: same-origin` or an allowed Origin.
"""


def document(base_url: str) -> Document:
    """The whole document; `base_url` is where this service is reached."""
    paths: dict[str, Document] = {}
    for tag, group in GROUPS.items():
        for operation in group:
            paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(tag, operation)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Chipmunk",
            "version": __version__,
            "description": ABOUT,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": base_url}],
        "tags": [{"name": tag} for tag in GROUPS],
        "paths": paths,
        "components": {"schemas": _schemas(), "securitySchemes": _schemes()},
    }


def _schemas() -> Document:
    used = {model for o in OPERATIONS for model in (o.answer, *(taken for _, taken in o.takes))} | {models.Problem}
    ordered = sorted((m for m in used if m is not None), key=lambda m: m.__name__)
    _, found = models_json_schema([(m, "validation") for m in ordered], ref_template=REF)
    schemas: Document = found["$defs"]
    return schemas


def _schemes() -> Document:
    about = "An API key `cmk_…`, a session token `cms_…`, a JWT of the app's own login, or the operator's key `cmo_…`."
    return {
        "bearer": {"type": "http", "scheme": "bearer", "description": about},
        "cookie": {"type": "apiKey", "in": "cookie", "name": COOKIE, "description": "A session token, by `enter_url`."},
    }


def _operation(tag: str, operation: Operation) -> Document:
    found: Document = {
        "operationId": operation.name,
        "tags": [tag],
        "summary": operation.summary,
        "description": _who(operation),
        "parameters": _parameters(operation),
        "responses": {**_successes(operation), **_refusals(operation)},
        "security": _security(operation),
    }
    if operation.takes:
        content = {kind: {"schema": _ref(model) if model else {}} for kind, model in operation.takes}
        found["requestBody"] = {"required": True, "content": content}
    return found


def _who(operation: Operation) -> str:
    scope = f" A user needs the scope `{operation.scope}`." if operation.scope else ""
    return f"Who: {operation.who}.{scope}"


def _security(operation: Operation) -> list[Document]:
    match operation.access:
        case "anyone":
            return []
        case "guest":
            return [{}, {"bearer": []}, {"cookie": []}]
        case "user" if operation.side == "nginx":
            return [{}, {"bearer": []}, {"cookie": []}]
        case "user":
            return [{"bearer": []}, {"cookie": []}]
        case _:
            return [{"bearer": []}]


def _parameters(operation: Operation) -> list[Document]:
    hexadecimal = {"type": "string", "pattern": shapes.ID_PATTERN}
    in_path = [
        {"name": name, "in": "path", "required": True, "schema": IN_PATH.get(name, hexadecimal)}
        for name in re.findall(r"{(\w+)}", operation.path)
    ]
    said = {name: IN_QUERY.get(f"{operation.name}.{name}") or IN_QUERY[name] for name in operation.query}
    in_query = [
        {"name": name, "in": "query", "description": about, "schema": schema} for name, (about, schema) in said.items()
    ]
    return [*in_path, *in_query]


def _ref(model: type[BaseModel]) -> Document:
    return {"$ref": REF.format(model=model.__name__)}


def _successes(operation: Operation) -> Document:
    schema = _ref(operation.answer) if operation.answer else {}
    if operation.a_list:
        items = {"items": {"type": "array", "items": schema}, "next": {"type": ["string", "null"]}}
        schema = {"type": "object", "required": ["items", "next"], "properties": items}
    found: Document = {}
    for status in sorted((operation.status, *operation.also)):
        found[str(status)] = {"description": HTTPStatus(status).phrase}
        if status not in (204, 302, 303):
            found[str(status)]["content"] = {operation.kind: {"schema": schema}}
    return found


def _refusals(operation: Operation) -> Document:
    by_status: dict[int, list[type[Problem]]] = {}
    page: Document = {"text/html": {"schema": {}}} if operation.kind == "text/html" or operation.takes_forms else {}
    for problem in sorted(operation.every_problem(), key=lambda p: p.code):
        by_status.setdefault(problem.status, []).append(problem)
    return {
        str(status): {
            "description": " ".join(f"`{p.code}`: {p.sentence}" for p in problems),
            "content": {
                "application/problem+json": {
                    "schema": {**_ref(models.Problem), "properties": {"code": {"enum": [p.code for p in problems]}}}
                },
                **page,
            },
        }
        for status, problems in sorted(by_status.items())
    }
