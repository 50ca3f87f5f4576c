"""The OpenAPI document, and the same as a page that needs nothing from anywhere else."""

from __future__ import annotations

from html import escape
from typing import Any

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response

from chipmunk.operations.openapi import document
from gateway.api.call import Parts

POLICY = {
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'",
    "x-content-type-options": "nosniff",
}
STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}"
    "code,h2 span{font-family:ui-monospace,monospace}h2{border-top:1px solid #ccc;padding-top:1rem;font-size:1.1rem}"
    "b{display:inline-block;min-width:4.5rem}td{padding:.1rem 1rem .1rem 0;vertical-align:top}pre{overflow:auto}"
)


async def openapi(request: Request) -> Response:
    parts: Parts = request.app.state.parts
    return JSONResponse(document(parts.settings.base_url))


async def docs(request: Request) -> Response:
    parts: Parts = request.app.state.parts
    return HTMLResponse(page(document(parts.settings.base_url)), headers=POLICY)


def page(api: dict[str, Any]) -> str:
    """The document for people: each call, who may make it, what it takes and what it answers."""
    calls = [
        _call(method, path, operation)
        for path, methods in api["paths"].items()
        for method, operation in methods.items()
    ]
    models = [_model(name, schema) for name, schema in api["components"]["schemas"].items()]
    title = escape(f"{api['info']['title']} {api['info']['version']}")
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{title}</title><style>{STYLE}</style>"
        f'<h1>{title}</h1><p>The same for machines: <a href="/openapi.json">openapi.json</a>.</p>'
        f"{''.join(calls)}<h1>Shapes</h1>{''.join(models)}</html>"
    )


def _call(method: str, path: str, operation: dict[str, Any]) -> str:
    taken = operation.get("requestBody", {}).get("content", {})
    rows = [(p["in"], p["name"], escape(p.get("description", ""))) for p in operation["parameters"]]
    rows += [("body", kind, _ref(content["schema"])) for kind, content in taken.items()]
    rows += [("answer", status, escape(a["description"]) + _answers(a)) for status, a in operation["responses"].items()]
    lines = "".join(f"<tr><td>{where}<td><code>{escape(name)}</code><td>{about}" for where, name, about in rows)
    about = escape(operation.get("description", ""))
    return (
        f"<h2 id={escape(operation['operationId'])}><b>{method.upper()}</b> <span>{escape(path)}</span></h2>"
        f"<p>{escape(operation['summary'])}. {about}</p><table>{lines}</table>"
    )


def _answers(answer: dict[str, Any]) -> str:
    schema = answer.get("content", {}).get("application/json", {}).get("schema")
    return f": {_ref(schema)}" if schema else ""


def _ref(schema: dict[str, Any]) -> str:
    if "$ref" in schema:
        name = escape(schema["$ref"].rsplit("/", 1)[1])
        return f'<a href="#{name}">{name}</a>'
    items = schema.get("properties", {}).get("items", {}).get("items")
    return f"a page of {_ref(items)}" if items else escape(str(schema.get("type", "")))


def _model(name: str, schema: dict[str, Any]) -> str:
    rows = [
        f"<tr><td><code>{escape(field)}</code><td>{escape(_type(about))}<td>{escape(about.get('description', ''))}"
        for field, about in schema.get("properties", {}).items()
    ]
    return f"<h2 id={escape(name)}><span>{escape(name)}</span></h2><table>{''.join(rows)}</table>"


def _type(about: dict[str, Any]) -> str:
    if "anyOf" in about:
        return " or ".join(_type(a) for a in about["anyOf"])
    if "enum" in about:
        return " | ".join(map(str, about["enum"]))
    if about.get("type") == "array":
        return f"list of {_type(about['items'])}"
    return str(about.get("$ref", "").rsplit("/", 1)[-1] or about.get("format") or about.get("type", "anything"))
