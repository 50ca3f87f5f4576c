"""The OpenAPI document, and the same as a page that needs nothing from anywhere else and runs no script."""

from __future__ import annotations

import asyncio
import json
from base64 import b64encode
from dataclasses import dataclass
from hashlib import sha256
from html import escape
from importlib.resources import files
from typing import Any

from chipmunk.operations.openapi import Document, document

HEADERS = {"cache-control": "no-cache", "x-content-type-options": "nosniff"}


@dataclass(frozen=True, slots=True)
class Made:
    """`policy` lets the page have its own style and nothing else."""

    openapi: bytes
    page: bytes
    policy: str


class Documents:
    """Both, made once, when one is asked for: 5 MB that few processes ever need."""

    def __init__(self, base_url: str) -> None:
        self._base_url = base_url
        self._made: Made | None = None
        self._making = asyncio.Lock()

    async def __call__(self) -> Made:
        async with self._making:
            if self._made is None:
                self._made = await asyncio.to_thread(made, self._base_url)
        return self._made


def made(base_url: str) -> Made:
    api = document(base_url)
    style = files("gateway.api").joinpath("docs.css").read_text()
    allowed = b64encode(sha256(style.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; style-src 'sha256-{allowed}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return Made(json.dumps(api, ensure_ascii=False).encode(), page(api, style).encode(), policy)


def page(api: Document, style: str) -> str:
    """The document for people: each call, who may make it, what it takes and what it answers."""
    calls: dict[str, list[str]] = {tag["name"]: [] for tag in api["tags"]}
    for path, methods in api["paths"].items():
        for method, operation in methods.items():
            calls[operation["tags"][0]].append(_call(method, path, operation))
    groups = "".join(f'<h2 id="{tag}">{tag}</h2>{"".join(items)}' for tag, items in calls.items())
    shapes = "".join(_shape(name, schema) for name, schema in api["components"]["schemas"].items())
    links = " · ".join(f'<a href="#{tag}">{tag}</a>' for tag in [*calls, "shapes"])
    title = escape(f"{api['info']['title']} {api['info']['version']}")
    return (
        f'<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width">\n<title>{title}</title>\n<style>{style}</style>\n'
        f"<h1>{title}</h1>\n<p>{_text(api['info']['description'])}</p>\n"
        f'<p>For machines: <a href="/openapi.json">openapi.json</a>. {links}</p>\n'
        f'{groups}\n<h2 id="shapes">shapes</h2>{shapes}\n</html>\n'
    )


def _call(method: str, path: str, operation: Document) -> str:
    rows = [_row(p["in"], p["name"], _type(p["schema"]), p.get("description", "")) for p in operation["parameters"]]
    taken = operation.get("requestBody", {}).get("content", {})
    rows += [_row("body", kind, _type(content["schema"])) for kind, content in taken.items()]
    for status, answer in operation["responses"].items():
        kind, schema = _content(answer)
        about = answer["description"] if kind == "application/problem+json" else ""
        rows.append(_row("answer", status, "" if about else f"{escape(kind)} {schema}", about))
    return (
        f'<details id="{escape(operation["operationId"])}"><summary><b>{method.upper()}</b> <code>{escape(path)}</code>'
        f" {escape(operation['summary'])}</summary><p>{_text(operation['description'])}</p>"
        f"<table>{''.join(rows)}</table></details>\n"
    )


def _content(answer: Document) -> tuple[str, str]:
    for kind, content in answer.get("content", {}).items():
        return kind, _type(content["schema"]) if content["schema"] else ""
    return "", ""


def _shape(name: str, schema: Document) -> str:
    needed = schema.get("required", [])
    rows = [
        _row(field, "" if field in needed else "optional", _type(about), about.get("description", ""))
        for field, about in schema.get("properties", {}).items()
    ]
    about = _text(schema.get("description", ""))
    return f'<h3 id="{escape(name)}">{escape(name)}</h3><p>{about}</p><table>{"".join(rows)}</table>\n'


def _row(where: str, name: str, kind: str, about: str = "") -> str:
    return f"<tr><td>{escape(where)}<td><code>{escape(name)}</code><td>{kind}<td>{_text(about)}"


def _text(text: str) -> str:
    """Escaped, with what stands between backticks as code."""
    parts = escape(text).split("`")
    return "".join(f"<code>{part}</code>" if n % 2 else part for n, part in enumerate(parts))


def _type(schema: dict[str, Any]) -> str:
    """A schema in a few words, as HTML."""
    if "$ref" in schema:
        name = escape(schema["$ref"].rsplit("/", 1)[1])
        return f'<a href="#{name}">{name}</a>'
    if "anyOf" in schema:
        return " or ".join(_type(s) for s in schema["anyOf"])
    if "enum" in schema:
        return " | ".join(f"<code>{escape(str(value))}</code>" for value in schema["enum"])
    if schema.get("type") == "array":
        return f"list of {_type(schema['items'])}"
    if "items" in schema.get("properties", {}):
        return f"a page, {_type(schema['properties']['items'])}"
    return escape(str(schema.get("format") or schema.get("type") or "anything"))
