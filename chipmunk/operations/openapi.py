"""The OpenAPI 3.1 document, from the table of operations."""

from __future__ import annotations

import re
from typing import Any

from pydantic.json_schema import models_json_schema

from chipmunk import __version__
from chipmunk.errors import every_problem
from chipmunk.operations import models
from chipmunk.operations.table import OPERATIONS, Operation

REF = "#/components/schemas/{model}"
COMMON = ("bad_request", "unauthorized", "forbidden", "not_found", "rate_limited", "unavailable")
OPEN = ("healthz", "livez", "openapi", "docs", "enter")
QUERY = {
    "cursor": ("Where the page before ended.", {"type": "string"}),
    "limit": ("How many, at most.", {"type": "integer", "minimum": 1, "maximum": 200, "default": 50}),
    "user": ("The owner.", {"type": "string", "pattern": models.NAME_PATTERN}),
    "flow": ("The flow; repeatable at uploads.", {"type": "string", "pattern": models.NAME_PATTERN}),
    "filename": ("The file's name, for people.", {"type": "string"}),
    "next": ("Where the browser goes on: a path here, or a page of an allowed origin.", {"type": "string"}),
}


def document(base_url: str) -> dict[str, Any]:
    """The whole document; `base_url` is where this service is reached."""
    used = {o.answer for o in OPERATIONS} | {o.takes for o in OPERATIONS} | {models.Problem}
    ordered = sorted((u for u in used if u is not None), key=lambda u: u.__name__)
    _, schemas = models_json_schema([(u, "validation") for u in ordered], ref_template=REF)
    paths: dict[str, dict[str, Any]] = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Chipmunk",
            "version": __version__,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": base_url}],
        "paths": {**paths, **_views()},
        "components": {
            "schemas": schemas["$defs"],
            "securitySchemes": {
                "bearer": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "An API key, session token, JWT or operator key.",
                },
                "cookie": {"type": "apiKey", "in": "cookie", "name": "chipmunk_session"},
            },
        },
    }


def _operation(operation: Operation) -> dict[str, Any]:
    found: dict[str, Any] = {
        "operationId": operation.name,
        "summary": operation.summary,
        "description": f"Who: {operation.who}.",
        "parameters": _parameters(operation),
        "responses": {str(operation.status): _success(operation), **_refusals(operation)},
        "security": [] if operation.name in OPEN else [{"bearer": []}, {"cookie": []}],
    }
    if operation.takes is not None or (operation.side == "compressor" and operation.status == 201):
        found["requestBody"] = {
            "required": True,
            "content": {kind: _body(operation, kind) for kind in operation.bodies},
        }
    return found


def _body(operation: Operation, kind: str) -> dict[str, Any]:
    if kind == "application/json" and operation.takes is not None:
        return {"schema": {"$ref": REF.format(model=operation.takes.__name__)}}
    if kind == "multipart/form-data":
        text = {"type": "string"}
        fields = {
            "file": {"type": "string", "contentMediaType": "application/octet-stream"},
            "user": text,
            "flow": text,
        }
        return {"schema": {"type": "object", "required": ["file"], "properties": fields}}
    return {"schema": {"type": "string", "contentMediaType": "application/octet-stream"}}


def _parameters(operation: Operation) -> list[dict[str, Any]]:
    in_path = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in re.findall(r"{(\w+)}", operation.path)
    ]
    in_query = [
        {"name": name, "in": "query", "description": QUERY[name][0], "schema": QUERY[name][1]}
        for name in operation.query
    ]
    return [*in_path, *in_query]


def _success(operation: Operation) -> dict[str, Any]:
    if operation.answer is None:
        return {"description": operation.summary}
    schema: dict[str, Any] = {"$ref": REF.format(model=operation.answer.__name__)}
    if operation.is_list:
        items = {"items": {"type": "array", "items": schema}, "next": {"type": ["string", "null"]}}
        schema = {"type": "object", "required": ["items", "next"], "properties": items}
    return {"description": operation.summary, "content": {"application/json": {"schema": schema}}}


def _refusals(operation: Operation) -> dict[str, Any]:
    problems = every_problem()
    by_status: dict[int, list[str]] = {}
    for code in (*COMMON, *operation.codes):
        by_status.setdefault(problems[code].status, []).append(code)
    content = {"application/problem+json": {"schema": {"$ref": REF.format(model="Problem")}}}
    return {
        str(status): {"description": "Codes: " + ", ".join(codes), "content": content}
        for status, codes in sorted(by_status.items())
    }


def _views() -> dict[str, Any]:
    binary = {"image/webp": {"schema": {"type": "string", "contentMediaType": "image/webp"}}}
    parameters = [
        {"name": "id", "in": "path", "required": True, "schema": {"type": "string"}},
        {"name": "quality", "in": "path", "required": True, "schema": {"type": "integer", "minimum": 0, "maximum": 6}},
    ]
    responses = {
        "200": {"description": "The bytes: the original at quality 0, WebP else", "content": binary},
        "206": {"description": "Some of them"},
        "304": {"description": "As before"},
        "401": {"description": "No valid credential, and no public link"},
        "404": {"description": "Nothing here for this viewer"},
        "416": {"description": "No such range"},
    }
    view = {
        "operationId": "view", "summary": "View a media", "parameters": parameters, "responses": responses,
        "security": [{}, {"bearer": []}, {"cookie": []}],
    }  # fmt: skip
    return {"/{id}/{quality}/": {"get": view}}
