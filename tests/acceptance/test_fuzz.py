"""Whatever comes, as whoever: no call answers 5xx, an undocumented status, type or shape. Requests are made from the project's
own OpenAPI document, right and wrong ones. `CHIPMUNK_TESTS_FUZZ` says how many for each operation and role."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode
from schemathesis.checks import CheckFunction
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from chipmunk.operations import openapi
from chipmunk.operations.table import OPERATIONS, Operation
from tests.client import App, photo
from tests.compressor.site import served, told
from tests.harness import System, scratch
from tests.roles.stage import MAIL, ROLES, Stage

THERE = "127.0.0.84"
EXAMPLES = int(os.environ.get("CHIPMUNK_TESTS_FUZZ", "2"))
CHECKS: list[CheckFunction] = [
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
schemathesis.serializer.alias(
    ["application/offset+octet-stream", "application/partial-upload"], "application/octet-stream"
)
SPENT = ("DELETE",)  # with these nothing real is named, or little would be left to find


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    with scratch() as folder, served(THERE) as site:
        limits = {"user_calls_per_minute": 0, "user_uploads_per_minute": 0}
        with System(folder / "data", fetch_allow=THERE, **MAIL, **limits) as system, App(system) as app:
            site.pages |= {"/1.jpg": told(photo(80, 60))}
            yield Stage(app, site)
            assert app.system.healthy()
            assert system.stop() == 0, system.output


@pytest.fixture(scope="module")
def document(stage: Stage) -> Any:
    url = stage.app.system.url
    schema = schemathesis.openapi.from_dict(openapi.document(url))
    schema.config.update(base_url=url)
    return schema


@pytest.fixture(scope="module")
def real(stage: Stage) -> dict[str, list[str]]:
    """What there is, by the name of the path's parameter."""
    return {
        "user": [stage.owner, stage.users["viewer"]],
        "flow": [stage.flow, stage.open, "general"],
        "media": [stage.media["id"]],
        "id": [one["url"].strip("/") for one in (stage.media, stage.link(), stage.link(max_views=10**6))],
        "link": [stage.link()["id"]],
        "job": [stage.failed],
        "upload": [stage.upload().rpartition("/")[2]],
        "recipient": [stage.recipient()],
        "backend": ["local"],
        "name": ["a.jpg"],
        "quality": ["0", "1", "6"],
    }


def asked(case: Case, headers: dict[str, str]) -> requests.Response:
    """The answer; of an endless stream its head."""
    sent = case.as_transport_kwargs(headers=headers)
    session = requests.Session()
    session.trust_env = False
    with session.request(**sent, stream=True, timeout=30, allow_redirects=False) as answer:
        if answer.headers.get("content-type", "").startswith("text/event-stream"):
            answer._content = b""
        else:
            answer.content  # noqa: B018 - read before the connection is given back
        return answer


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda o: o.name)
@pytest.mark.parametrize("role", ROLES)
def test_whatever_comes_is_answered_as_documented(
    role: str, operation: Operation, stage: Stage, document: Any, real: dict[str, list[str]]
) -> None:
    found = document[operation.path][operation.method]
    credential = stage.headers(role)

    @settings(
        max_examples=EXAMPLES, deadline=None, derandomize=True, database=None,
        phases=[Phase.generate], suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(st.data())
    def tried(data: st.DataObject) -> None:
        mode = data.draw(st.sampled_from([GenerationMode.POSITIVE, GenerationMode.NEGATIVE]))
        case = data.draw(found.as_strategy(generation_mode=mode))
        for name in case.path_parameters or {}:
            if name in real and operation.method not in SPENT and data.draw(st.booleans()):
                case.path_parameters[name] = data.draw(st.sampled_from(real[name]))
        answer = asked(case, {**dict(case.headers or {}), **credential})
        assert answer.status_code < 500 or answer.status_code == 501, (case.as_curl_command(), answer.text)
        case.validate_response(answer, checks=CHECKS)

    tried()
