"""`python -m benchmarks.dashboard`: draws docs/dashboard/chipmunk.png, the dashboard's own queries over some minutes of a
running system that is viewed and uploaded to, as a real Prometheus (the program `prometheus`) answers them."""

from __future__ import annotations

import json
import random
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import httpx
import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot

from tests.client import App, photo
from tests.harness import System, free_port, scratch, until
from tests.servers.ceph import Rgw

FOLDER = Path(__file__).parents[1] / "docs/dashboard"
MINUTES, STEP, WINDOW = 4, 2, "20s"
CONFIG = """
global: {{ scrape_interval: {step}s }}
scrape_configs:
  - job_name: chipmunk
    authorization: {{ credentials_file: {key} }}
    static_configs: [{{ targets: ["127.0.0.1:{port}"] }}]
"""


def live(app: App, ends: float) -> None:
    """What users do: they look at what there is, the newest most, send what is new, and now and then what is no picture."""
    chance, user = random.Random(1), app.user()
    urls = [str(app.stored(user, photo(800, 600, n))["url"]) for n in range(10)]
    client = app.viewer(user)
    while time.time() < ends:
        for _ in range(40):
            client.get(f"{urls[int(len(urls) * chance.random() ** 0.5)]}{chance.randint(1, 6)}/")
        began = time.time()
        size = chance.choice([(640, 480), (1600, 1200), (3000, 2000)])
        flow = chance.choice(["general", "far"])
        answer = app.upload(
            user, photo(*size, chance.randrange(10**6)) if chance.random() < 0.9 else b"no picture", flow=flow
        )
        if answer.status_code == 201:
            urls.append(answer.json()["url"])
            told = {"upload_client_duration_sec_f": time.time() - began}
            app.http.post(f"/v1/images/upload_metrics?imgid={answer.json()['id']}&ct=app", json=told)
        client.get("/v1/media")
        time.sleep(chance.expovariate(1))


def asked(url: str, query: str, begin: float, end: float) -> list[dict[str, Any]]:
    given: dict[str, Any] = {
        "query": query.replace("$__rate_interval", WINDOW),
        "start": begin,
        "end": end,
        "step": STEP,
    }
    answer = httpx.get(f"{url}/api/v1/query_range", params=given)
    assert answer.status_code == 200, answer.text
    return list(answer.json()["data"]["result"])


def named(legend: str, labels: dict[str, str]) -> str:
    for name, value in labels.items():
        legend = legend.replace(f"{{{{{name}}}}}", value)
    return legend


def draw(url: str, begin: float, end: float) -> None:
    panels = json.loads((FOLDER / "chipmunk.json").read_text())["panels"]
    figure, axes = pyplot.subplots(-(-len(panels) // 3), 3, figsize=(18, 15), layout="constrained")
    for panel, axis in zip(panels, axes.flat, strict=True):
        axis.set_title(panel["title"], fontsize=10)
        [target] = panel["targets"]
        for series in asked(url, target["expr"], begin, end):
            points = [(float(t) - begin, float(v)) for t, v in series["values"] if v != "NaN"]
            if points:
                axis.plot(
                    *zip(*points, strict=True), label=named(target["legendFormat"], series["metric"]), linewidth=1
                )
        axis.set_ylim(bottom=0)
        axis.set_xlabel(f"seconds; y: {panel['fieldConfig']['defaults']['unit']}", fontsize=7)
        axis.grid(alpha=0.3)
        if axis.lines:
            axis.legend(fontsize=6, ncols=2)
    figure.savefig(FOLDER / "chipmunk.png", dpi=70)


def bucket(app: App, rgw: Rgw) -> None:
    """A flow whose media lie in a bucket."""
    operator = {"Authorization": f"Bearer {app.system.operator_key}"}
    fields = {"url": f"s3+{rgw.url}/{rgw.make_bucket()}/media", **rgw.user.secret}
    assert httpx.put(f"{app.system.url}/v1/backends/bucket", json=fields, headers=operator, timeout=30).is_success
    placed = {"backends": [{"backend": "bucket", "role": "primary"}], "posting": "users"}
    assert app.http.put("/v1/flows/far", json=placed).is_success


def main() -> None:
    with scratch() as folder, Rgw(folder / "ceph") as rgw, System(folder / "data") as system, App(system) as app:
        bucket(app, rgw)
        key, config, port = folder / "key", folder / "prometheus.yml", free_port()
        key.write_text(system.operator_key)
        config.write_text(CONFIG.format(step=STEP, key=key, port=system.port))
        listen = f"--web.listen-address=127.0.0.1:{port}"
        command = ["prometheus", f"--config.file={config}", f"--storage.tsdb.path={folder / 'tsdb'}", listen]
        url = f"http://127.0.0.1:{port}"
        with subprocess.Popen(command, stderr=subprocess.DEVNULL) as prometheus:
            try:
                until(lambda: ready(url), 20, "Prometheus")
                begin = time.time()
                users = [threading.Thread(target=live, args=(app, begin + 60 * MINUTES)) for _ in range(2)]
                for user in users:
                    user.start()
                for user in users:
                    user.join()
                draw(url, begin, time.time())
            finally:
                prometheus.terminate()


def ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/-/ready").status_code == 200
    except httpx.TransportError:
        return False


if __name__ == "__main__":
    main()
