from __future__ import annotations

import os
import time
from collections.abc import Iterator

import httpx
import pytest

from tests.client import App, photo, problem
from tests.compose.deployment import SCALE, Deployment, took
from tests.compose.docker import Docker, missing
from tests.harness import scratch, until

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def deployment() -> Iterator[Deployment]:
    if (why := missing()) and os.environ.get("CI") != "true":
        pytest.skip(why)
    assert not why
    with scratch() as folder, Docker(folder) as docker:
        deployment = Deployment(docker, folder)
        deployment.build()
        try:
            deployment.up()
            yield deployment
        finally:
            print(deployment.compose("logs", "--no-color", "--tail", "100"))
            with took("down"):
                deployment.compose("down", "--volumes", "--timeout", "20")
        assert docker("ps", "--all", "--quiet") == ""
        assert docker("volume", "ls", "--quiet") == ""


@pytest.fixture(scope="module")
def app(deployment: Deployment) -> Iterator[App]:
    with App(deployment) as app:  # type: ignore[arg-type]
        yield app


@pytest.fixture(scope="module")
def seen(app: App) -> tuple[httpx.Client, str]:
    """A user who is logged in, and the address of their photo."""
    user = app.user()
    media = app.stored(user, photo())
    return app.viewer(user), str(media["url"])


def test_all_replicas_run(deployment: Deployment) -> None:
    running = {name: len(deployment.containers(name)) for name in SCALE}
    assert running == SCALE
    assert deployment.healthy()


def test_a_photo_goes_in_by_one_compressor_is_laddered_by_a_worker_and_is_shown_to_its_owner_alone(
    app: App, seen: tuple[httpx.Client, str]
) -> None:
    viewer, url = seen
    assert viewer.get(f"{url}0/").content == photo()
    for quality in range(1, 7):
        shown = viewer.get(f"{url}{quality}/")
        assert (shown.status_code, shown.headers["content-type"]) == (200, "image/webp")
    problem(app.anonymous().get(f"{url}3/"), 401, "unauthorized")
    problem(app.viewer(app.user()).get(f"{url}3/"), 404, "not_found")


def test_uploads_by_either_compressor_are_viewed_by_either_gateway(app: App) -> None:
    user = app.user()
    made = [app.stored(user, photo(seed=seed)) for seed in range(4)]
    viewer = app.viewer(user)
    for _ in range(4):
        assert {viewer.get(f"{media['url']}4/").status_code for media in made} == {200}


def test_no_container_is_root_or_can_become_it_or_writes_where_it_need_not(deployment: Deployment) -> None:
    for container in deployment.containers():
        name, host = container["Name"], container["HostConfig"]
        assert container["Config"]["User"] in ("10001:10001", "999:999"), name
        assert host["ReadonlyRootfs"], name
        assert host["CapDrop"] == ["ALL"], name
        assert not host["CapAdd"], name
        assert host["SecurityOpt"] == ["no-new-privileges:true"], name
        assert not host["Privileged"], name
        assert all((host["Memory"], host["NanoCpus"], host["PidsLimit"])), name
        status = deployment.docker("exec", container["Id"], "grep", "-E", "^(Uid|CapEff|NoNewPrivs):", "/proc/1/status")
        uids, capabilities, privileges = (line.split()[1:] for line in status.splitlines())
        assert "0" not in uids, name
        assert (int(capabilities[0], 16), privileges) == (0, ["1"]), name


def test_only_nginx_is_reached_from_outside_and_by_default_from_this_machine_alone(deployment: Deployment) -> None:
    published = {
        c["Config"]["Labels"]["com.docker.compose.service"]: c["HostConfig"]["PortBindings"]
        for c in deployment.containers()
    }
    assert published.pop("nginx") == {"8080/tcp": [{"HostIp": "127.0.0.1", "HostPort": str(deployment.port)}]}
    assert not any(published.values()), published


def test_only_those_who_ask_stores_and_nginx_have_a_way_out(deployment: Deployment) -> None:
    ways = {"chipmunk_outside", "chipmunk_stores"}
    found = {
        c["Config"]["Labels"]["com.docker.compose.service"]: ways & set(c["NetworkSettings"]["Networks"])
        for c in deployment.containers()
    }
    stores = {key: {"chipmunk_stores"} for key in ("gateway", "compressor", "worker")}
    assert found == {"nginx": {"chipmunk_outside"}, **stores, "postgres": set(), "redis": set()}
    for name, internal in (("front", True), ("back", True), ("stores", False)):
        assert (
            deployment.docker("network", "inspect", f"chipmunk_{name}", "--format", "{{.Internal}}").strip()
            == str(internal).lower()
        )


def test_the_gateway_deletes_what_nginx_keeps_of_rungs(deployment: Deployment) -> None:
    nginx, gateway = (deployment.containers(name)[0]["Id"] for name in ("nginx", "gateway"))
    deployment.docker(
        "exec", nginx, "sh", "-c", "umask 077 && mkdir -p /data/cache/f/ff && touch /data/cache/f/ff/rung"
    )
    deployment.docker("exec", gateway, "rm", "/data/cache/f/ff/rung")
    assert deployment.docker("exec", nginx, "ls", "/data/cache/f/ff") == ""


def test_the_gateway_has_no_image_library(deployment: Deployment) -> None:
    gateway = deployment.containers("gateway")[0]["Id"]
    found = "import importlib.util as u; print([m for m in ('PIL', 'pillow_heif', 'compressor') if u.find_spec(m)])"
    assert deployment.docker("exec", gateway, "python", "-c", found).strip() == "[]"


def test_no_secret_is_in_an_image_an_environment_or_a_log(deployment: Deployment) -> None:
    images = [deployment.docker("history", "--no-trunc", f"chipmunk-{name}") for name in ("gateway", "compressor")]
    told = [*images, str(deployment.containers()), deployment.compose("logs", "--no-color")]
    for name in ("api_key", "operator_key", "secret_keys", "master_keys", "postgres_password"):
        assert not any(deployment.secret(name) in text for text in told), name


def test_nginx_takes_up_a_new_configuration_without_a_break(
    deployment: Deployment, seen: tuple[httpx.Client, str]
) -> None:
    viewer, url = seen
    nginx = deployment.containers("nginx")[0]["Id"]
    before = _workers(deployment, nginx)
    deployment.docker("kill", "--signal", "HUP", nginx)
    until(lambda: len(now := _workers(deployment, nginx)) == len(before) and not now & before, 10, "new workers")
    assert {viewer.get(f"{url}{quality}/").status_code for quality in range(7)} == {200}


def _workers(deployment: Deployment, nginx: str) -> set[str]:
    lines = deployment.docker("top", nginx).splitlines()
    return {line.split()[1] for line in lines if line.endswith("nginx: worker process")}


def test_views_go_on_when_a_gateway_dies(deployment: Deployment, seen: tuple[httpx.Client, str]) -> None:
    viewer, url = seen
    deployment.docker("kill", deployment.containers("gateway")[0]["Id"])
    answers = []
    for _ in range(40):
        answers.append(viewer.get(f"{url}5/").status_code)
        time.sleep(0.1)
    assert set(answers) == {200}
    assert len(deployment.containers("gateway")) == 1


def test_views_are_refused_as_unavailable_when_the_last_gateway_dies(
    deployment: Deployment, seen: tuple[httpx.Client, str]
) -> None:
    viewer, url = seen
    deployment.docker("kill", deployment.containers("gateway")[0]["Id"])
    until(lambda: viewer.get(f"{url}5/").status_code == 503, 10, "a refusal")  # until then one answer is believed
    problem(viewer.get(f"{url}5/"), 503, "unavailable")


def test_what_was_stored_is_there_in_new_containers(deployment: Deployment, seen: tuple[httpx.Client, str]) -> None:
    viewer, url = seen
    with took("down"):
        deployment.compose("down", "--timeout", "20")
    assert not deployment.healthy()
    deployment.up()
    until(deployment.healthy, 30, "a healthy system")
    assert viewer.get(f"{url}0/").content == photo()
    assert viewer.get(f"{url}6/").status_code == 200


def test_a_backup_is_restored_into_empty_volumes_as_the_guide_says(
    deployment: Deployment, seen: tuple[httpx.Client, str]
) -> None:
    viewer, url = seen
    backup, restore = deployment.guide("pg_dump"), deployment.guide("pg_restore")
    with took("back up"):
        deployment.shell("\n".join(backup.splitlines()[:2]))
    with took("down"):
        deployment.compose("down", "--volumes", "--timeout", "20")
    with took("restore"):
        deployment.shell(restore)
    until(deployment.healthy, 30, "a healthy system")
    assert viewer.get(f"{url}0/").content == photo()
    assert viewer.get(f"{url}6/").status_code == 200
