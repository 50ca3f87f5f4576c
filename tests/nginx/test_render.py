"""The rendered configuration: nginx takes it, hostile settings do not get into it, and no limit is left to a default."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from chipmunk import config
from chipmunk.errors import Problem, SettingsError, every_problem
from nginx import errors as nginx_errors
from nginx.render import INLINE, render
from solo.packages import PROJECT
from solo.servers import nginx_binary
from tests.harness import scratch

NAMES = {"authorizer_address": "gateway:9001", "api_address": "gateway:9002", "compressor_address": "compressor:9003"}
NUMBERS = {"authorizer_address": "127.0.0.1:9001", "api_address": "[::1]:9002", "compressor_address": "10.0.0.1:9003"}
SETTINGS: dict[str, dict[str, Any]] = {
    "defaults": {},
    "an origin": {"origins": "https://app.example"},
    "several origins": {"origins": "https://app.example,http://localhost:3000,https://xn--bcher-kva.example,http://[::1]:8080"},
    "upstreams by name": NAMES,
    "upstreams by name and a resolver": {**NAMES, "resolver": "127.0.0.1:5353"},
    "upstreams by number": NUMBERS,
    "all addresses": {"host": "0.0.0.0"},
    "IPv6": {"host": "::1"},
    "IPv6 in brackets": {"host": "[::]", "port": 1},
    "proxies": {"trusted_proxies": "10.0.0.0/8,192.168.1.7,fd00::/8,::1"},
    "another site": {"cookie_same_site": "none", "public_url": "https://media.example"},
    "policy": {"resource_policy": "same-origin", "cache_max_age": 86400},
    "workers": {"nginx_workers": 4, "max_json_bytes": 1024, "max_file_bytes": 10**15},
    "all at once": {**NAMES, "origins": "https://a.example", "trusted_proxies": "172.16.0.0/12", "host": "0.0.0.0"},
}  # fmt: skip


@pytest.fixture
def folder() -> Iterator[Path]:
    with scratch() as folder:
        for name in ("nginx", "log", "run", "store/.spool"):
            (folder / name).mkdir(parents=True)
        yield folder


def rendered(folder: Path | str, **settings: object) -> str:
    given = {f"CHIPMUNK_{name.upper()}": str(value) for name, value in settings.items()}
    return render(config.load({"CHIPMUNK_DATA_DIR": str(folder), **given}))


def checked(folder: Path, text: str) -> subprocess.CompletedProcess[str]:
    path = folder / "nginx" / "nginx.conf"
    path.write_text(text)
    command = [str(nginx_binary(config.load({}))), "-t", "-q", "-e", "stderr", "-p", str(folder), "-c", str(path)]
    return subprocess.run(command, capture_output=True, text=True, timeout=30)


@pytest.mark.parametrize("name", SETTINGS)
def test_nginx_takes_what_is_rendered_without_a_word(folder: Path, name: str) -> None:
    found = checked(folder, rendered(folder, **SETTINGS[name]))
    assert (found.returncode, found.stdout, found.stderr) == (0, "", "")


def test_nginx_would_notice_a_mistake(folder: Path) -> None:
    assert checked(folder, rendered(folder).replace("tcp_nodelay on;", "tcp_nodelay maybe;")).returncode != 0


PLACES = {  # where a value of each setting would stand; {} is what is hostile
    "host": "127.0.0.1{}",
    "origins": "https://app{}.example",
    "trusted_proxies": "10.0.0.0/8{}",
    "resolver": "127.0.0.1{}",
    "authorizer_address": "gateway{}:9001",
    "api_address": "unix:/run/a{}.sock",
    "compressor_address": "unix:/run/{}/c.sock",
    "data_dir": "/tmp/a{}b",
    "nginx_workers": "1{}",
    "port": "80{}",
    "cache_max_age": "1{}",
    "max_json_bytes": "2000{}",
    "resource_policy": "same-site{}",
}
HOSTILE = [
    ";",
    "\n",
    "\r",
    "\x00",
    "'",
    '"',
    "$host",
    "${host}",
    "{",
    "}",
    " ",
    "\t",
    "#",
    "\\",
    "; return 200",
    "\u2028",
]


def with_one(setting: str, hostile: str) -> str:
    value = PLACES[setting].replace("{}", hostile)
    return rendered(value) if setting == "data_dir" else rendered("/tmp/a", **{setting: value})


@pytest.mark.parametrize("setting", PLACES)
def test_no_hostile_value_of_a_setting_gets_into_the_configuration(setting: str) -> None:
    """Each is refused with a sentence that names the setting, but for white space around a value, which means nothing."""
    said, taken = list[str](), list[str]()
    for hostile in HOSTILE:
        try:
            text = with_one(setting, hostile)
            taken += [hostile] if hostile.strip() or text != with_one(setting, "") else []
        except SettingsError as refused:
            said.append(str(refused))
    assert taken == []
    assert all(f"CHIPMUNK_{setting.upper()}" in sentence for sentence in said), said


def blocks(text: str) -> dict[str, str]:
    """The body of each location, by what it is for."""
    found = {}
    for start in re.finditer(r"location ([^{\"]*(?:\"[^\"]*\" ?)?)\{", text):
        depth, at = 1, start.end()
        while depth:
            at = next(i for i in range(at, len(text)) if text[i] in "{}")
            depth += 1 if text[at] == "{" else -1
            at += 1
        found[start[1].strip()] = text[start.end() : at - 1]
    return found


def test_every_location_that_asks_a_service_says_how_long_it_waits_and_whether_it_asks_another(folder: Path) -> None:
    for settings in ({}, NAMES):
        asking = {name: body for name, body in blocks(rendered(folder, **settings)).items() if "proxy_pass " in body}
        assert len(asking) > 10
        for name, body in asking.items():
            for directive in (
                "proxy_connect_timeout",
                "proxy_read_timeout",
                "proxy_next_upstream",
                "proxy_http_version 1.1",
            ):
                assert len(re.findall(rf"\b{directive}\b", body)) == 1, (name, directive)
            assert re.search(r'proxy_set_header Connection "";', body), name


def test_all_limits_and_timeouts_are_named(folder: Path) -> None:
    text = rendered(folder, **NAMES)
    for directive in (
        "client_header_timeout", "client_body_timeout", "send_timeout", "reset_timedout_connection", "keepalive_timeout",
        "keepalive_requests", "client_header_buffer_size", "large_client_header_buffers", "client_max_body_size", "max_ranges",
        "worker_connections", "request_pool_size", "limit_req_zone", "limit_conn_zone", "limit_req_status", "limit_conn_status",
        "resolver_timeout", "worker_rlimit_nofile",
        "open_file_cache off", "server_tokens off", "merge_slashes off", "underscores_in_headers off",
    ):  # fmt: skip
        assert re.search(rf"(^|[\s;{{]){directive}\b", text), directive
    assert re.search(r"proxy_cache_path [^;]*max_size=[^;]*;", text)
    assert f"client_max_body_size {config.load({}).max_json_bytes};" in blocks(text)["= /-/media/json"]


def test_what_lies_elsewhere_is_kept_within_a_bound_and_under_names_that_the_gateway_finds(folder: Path) -> None:
    text = rendered(folder, cache_bytes=5_000_000)
    kept = re.search(r"proxy_cache_path (\S+) keys_zone=rungs:16m ([^;]*);", text)
    assert kept is not None
    assert kept[1] == f"{folder}/cache"
    assert {"levels=1:2", "max_size=5000000"} <= set(kept[2].split())
    away = blocks(text)["@away"]
    assert "proxy_cache rungs; proxy_cache_key $away/$q;" in away
    assert "proxy_cache off;" in blocks(text)["= /-/away/0"]


def test_a_view_of_what_lies_on_the_local_volume_enters_nothing_that_is_for_others(folder: Path) -> None:
    view = next(body for name, body in blocks(rendered(folder)).items() if "(?<id>(?<first>" in name)
    assert not re.search(r"away|proxy_|/-/(?!authorize)", view)
    assert "try_files $dir/$file $original;" in view


def test_of_what_the_api_answers_to_a_view_nothing_goes_on_but_what_is_meant_to(folder: Path) -> None:
    for name in ("@away", "= /-/away/0"):
        body = blocks(rendered(folder))[name]
        assert "proxy_pass_request_headers off" in body, name
        assert "proxy_intercept_errors on" in body, name
        assert not re.search(r"proxy_set_header (Cookie|Authorization|X-Session)", body), name


def test_what_is_known_to_do_harm_is_not_used(folder: Path) -> None:
    text = rendered(folder, **SETTINGS["all at once"])
    for word in (
        "proxy_cache_lock",
        "stale updating",
        "slice ",
        "stub_status",
        "dav_methods",
        "gzip_static",
        "if_modified_since off",
    ):
        assert word not in text, word
    assert not re.search(r"@[a-z_]+@", text), "a placeholder is left"


def test_only_our_own_locations_can_be_asked_for_from_outside(folder: Path) -> None:
    for name, body in blocks(rendered(folder)).items():
        if "/-/" in name:
            assert body.lstrip().startswith("internal;"), name


def test_without_origins_no_page_is_let_in_and_with_them_each_by_name_alone(folder: Path) -> None:
    assert "Access-Control" not in rendered(folder)
    text = rendered(folder, origins="https://app.example,https://b.example")
    assert 'default ""; https://app.example https://app.example; https://b.example https://b.example;' in text
    assert "Access-Control-Allow-Origin *" not in text
    assert "Access-Control-Allow-Origin $http_origin" not in text


RESUMABLE = {412, 423, 460}  # of uploads that no pre-check stands before


def test_every_refusal_of_the_write_side_has_a_way_out(folder: Path) -> None:
    """nginx lets through the statuses that it knows; another would become a 403 that says something else."""
    own = {p for p in vars(nginx_errors).values() if isinstance(p, type) and issubclass(p, Problem)}
    raised = {p.status for p in every_problem().values() if p not in own} - {405, 500, 501} - RESUMABLE
    text = rendered(folder)
    known = {
        int(n) for n in re.search(r"map \$refused_status \$refusal \{ \"~\^\(([0-9|]+)\)\$\"", text)[1].split("|")
    } | {403}  # type: ignore[index]
    assert raised <= known
    for status in known:
        assert f"location @refused_{status} " in text
        assert f"location @problem_{status} " in text


def test_nothing_that_a_browser_could_run_is_shown_in_place() -> None:
    assert all(mime.startswith(("image/", "audio/", "video/")) for mime in INLINE)
    assert not {"image/svg+xml", "text/html", "application/pdf"} & set(INLINE)


def test_from_the_command_line_it_is_written_whole_or_refused_with_a_sentence(folder: Path) -> None:
    def run(**settings: str) -> subprocess.CompletedProcess[str]:
        plain = {k: v for k, v in os.environ.items() if not k.startswith("CHIPMUNK_")}
        command = [sys.executable, "-m", "nginx", str(folder / "out")]
        environment = {**plain, "CHIPMUNK_DATA_DIR": str(folder), **settings}
        return subprocess.run(command, cwd=PROJECT, env=environment, capture_output=True, text=True, timeout=30)

    refused = run(CHIPMUNK_HOST="a;b")
    assert refused.returncode == 1
    assert refused.stderr.startswith("CHIPMUNK_HOST: ")
    assert len(refused.stderr.splitlines()) == 1
    assert not (folder / "out").exists()
    assert run().returncode == 0
    assert [p.name for p in (folder / "out").iterdir()] == ["nginx.conf"]
    assert (folder / "out" / "nginx.conf").read_text() == rendered(folder)


def test_what_is_here_after_all_is_a_file_of_a_media(folder: Path) -> None:
    [pattern] = re.findall(r'location ~ "(\^/-/local/[^"]+)"', rendered(folder))
    media = f"/-/local/ab/cd/{'0' * 32}/"
    for name in ("0", "1.webp", "6.webp", "11.webp", "20.webp", "21.webm"):
        assert re.search(pattern.replace("?<", "?P<"), media + name), name
    for name in ("7.webp", "10.webp", "21.webp", "1.webm", ".top", "", "0/0"):
        assert not re.search(pattern.replace("?<", "?P<"), media + name), name
