"""The table of operations is what is served, and the documents say no more and no less."""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections.abc import Iterator
from hashlib import sha256
from typing import Any

import pytest

from chipmunk.operations.table import OPERATIONS
from compressor import app as compressor
from gateway.api import documents
from gateway.api.app import HANDLERS
from gateway.api.routing import Path, routes

MADE = documents.made("https://media.example")
API: dict[str, Any] = json.loads(MADE.openapi)


def refs(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for inner in value.values():
            yield from refs(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from refs(inner)


def test_every_operation_of_the_api_has_its_handler_and_every_handler_its_operation() -> None:
    assert set(HANDLERS) == {o.name for o in OPERATIONS if o.side == "api"}


def test_every_path_takes_the_methods_of_the_table_and_tells_the_others() -> None:
    by_path: dict[str, set[str]] = {}
    for operation in OPERATIONS:
        if operation.side != "nginx":
            by_path.setdefault(operation.path, set()).add(operation.method)
    served = {route.path: route.app for route in routes(HANDLERS)}
    assert set(served) == set(by_path)
    for path, methods in by_path.items():
        app = served[path]
        assert isinstance(app, Path)
        assert set(app.allowed) == methods | {"OPTIONS"} | ({"HEAD"} if "GET" in methods else set())


def test_the_write_side_serves_its_operations() -> None:
    served = {(method, route.path) for route in compressor.ROUTES for method in route.methods or ()}
    assert {(o.method, o.path) for o in OPERATIONS if o.side == "compressor"} <= served


def test_the_document_has_every_operation_and_nothing_dangles() -> None:
    assert API["openapi"].startswith("3.1.")
    assert API["servers"] == [{"url": "https://media.example"}]
    found = {
        (method.upper(), path): o["operationId"]
        for path, methods in API["paths"].items()
        for method, o in methods.items()
    }
    assert found == {(o.method, o.path): o.name for o in OPERATIONS}
    for ref in refs(API):
        assert ref.removeprefix("#/components/schemas/") in API["components"]["schemas"], ref


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda o: o.name)
def test_every_operation_says_who_may_call_it_what_it_answers_and_how_it_fails(operation: Any) -> None:
    said = API["paths"][operation.path][operation.method.lower()]
    statuses = {int(s) for s in said["responses"]}
    assert {operation.status, *operation.also} <= statuses
    assert {p.status for p in operation.every_problem()} <= statuses
    assert (401 in statuses) is (operation.access != "anyone")
    assert said["summary"]
    assert said["description"].startswith("Who: ")
    assert {p["name"] for p in said["parameters"] if p["in"] == "path"} == set(re.findall(r"{(\w+)}", operation.path))
    assert bool(said["security"]) is (operation.access != "anyone")


def test_the_page_shows_every_operation_and_needs_nothing_from_anywhere_and_runs_nothing() -> None:
    text = MADE.page.decode()
    for operation in OPERATIONS:
        assert f'id="{operation.name}"' in text
    assert not re.search(
        r"<script|\son\w+=|src=|@import|url\(|<link|https?://(?!media\.example)[^\s<\"]*\.(js|css)", text
    )
    [style] = re.findall(r"<style>(.*?)</style>", text, re.DOTALL)
    assert f"'sha256-{b64encode(sha256(style.encode()).digest()).decode()}'" in MADE.policy
    assert "default-src 'none'" in MADE.policy
    for anchor in re.findall(r'href="#([^"]+)"', text):
        assert f'id="{anchor}"' in text, anchor
