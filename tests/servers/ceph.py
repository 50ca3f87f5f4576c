"""A real Ceph Object Gateway (RGW): one monitor, one OSD that keeps everything in memory, one gateway, in a scratch folder."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self
from uuid import uuid4

import botocore.session

from tests.harness import free_port, until

PROGRAMS = ("ceph", "ceph-authtool", "ceph-mon", "ceph-osd", "monmaptool", "rados", "radosgw", "radosgw-admin")
START_SECONDS = 60
KMS_KEY = "test-key"

CONFIG = """
[global]
fsid = {fsid}
mon_initial_members = a
mon_host = v2:127.0.0.1:{mon_port}
public_network = 127.0.0.0/8
auth_cluster_required = cephx
auth_service_required = cephx
auth_client_required = cephx
keyring = {folder}/keyring
run_dir = {folder}
admin_socket = {folder}/$name.asok
crash_dir = {folder}
pid_file =
log_file = {folder}/$name.log
log_to_stderr = false
err_to_stderr = false
mon_cluster_log_file = {folder}/cluster.log
debug_ms = 0
ms_async_op_threads = 1
ms_bind_ipv6 = false
osd_pool_default_size = 1
osd_pool_default_min_size = 1
osd_pool_default_pg_num = 1
osd_pool_default_pgp_num = 1
osd_pool_default_pg_autoscale_mode = off
osd_crush_chooseleaf_type = 0
mon_allow_pool_size_one = true
mon_max_pg_per_osd = 1000
mon_data_avail_warn = 1
mon_data_avail_crit = 1

[mon]
mon_data = {folder}/mon
mon_osd_initial_require_min_compat_client = luminous

[osd]
osd_data = {folder}/osd
osd_objectstore = memstore
memstore_device_bytes = 12G
osd_memory_target = 1G
osd_op_num_shards = 1
osd_op_num_threads_per_shard = 2
osd_max_object_name_len = 2048
osd_class_load_list = *
osd_class_default_list = *

[client.rgw]
rgw_frontends = beast endpoint=127.0.0.1:{port}
rgw_dns_name = localhost
rgw_thread_pool_size = 32
rgw_num_rados_handles = 1
rgw_rados_pool_pg_num_min = 1
rgw_cache_enabled = false
rgw_max_listing_results = 100
rgw_gc_obj_min_wait = 5
rgw_gc_processor_period = 5
rgw_gc_processor_max_time = 5
rgw_enable_usage_log = false
rgw_run_sync_thread = false
rgw_enable_quota_threads = false
rgw_exit_timeout_secs = 5
rgw_crypt_require_ssl = false
rgw_crypt_s3_kms_backend = testing
rgw_crypt_s3_kms_encryption_keys = test-key=MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTI=
"""


GUARD = """
import os, shutil, signal, sys
running = set()
for line in sys.stdin:
    running ^= {int(line)}
for pid in running:
    os.kill(pid, signal.SIGKILL)
if running:
    shutil.rmtree(sys.argv[1], ignore_errors=True)
"""


@dataclass(frozen=True, slots=True)
class User:
    """An S3 user of the gateway."""

    name: str
    access_key: str
    secret_key: str

    @property
    def secret(self) -> dict[str, str]:
        """As S3Store takes it."""
        return {"access_key": self.access_key, "secret_key": self.secret_key}


def missing() -> list[str]:
    """The programs that are not installed."""
    return [program for program in PROGRAMS if shutil.which(program) is None]


class Rgw:
    """S3 at `url`. Only the gateway is ever killed or stopped alone: what it keeps lies in the OSD's memory."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._clients: dict[str, Any] = {}
        self._guard = subprocess.Popen(
            [sys.executable, "-c", GUARD, str(folder)], stdin=subprocess.PIPE, text=True, start_new_session=True
        )
        try:
            self._begin()
        except BaseException:
            self.stop()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def access_key(self) -> str:
        return self.user.access_key

    @property
    def secret_key(self) -> str:
        return self.user.secret_key

    def _begin(self) -> None:
        fsid, mon_port = str(uuid4()), free_port()
        config = CONFIG.format(fsid=fsid, folder=self.folder, port=self.port, mon_port=mon_port)
        (self.folder / "ceph.conf").write_text(config)
        self._keys()
        monmap = self.folder / "monmap"
        self._run("monmaptool", "--create", "--fsid", fsid, "--addv", "a", f"[v2:127.0.0.1:{mon_port}]", str(monmap))
        self._run("ceph-mon", "--mkfs", "-i", "a", "--monmap", str(monmap), "--keyring", str(self._keyring))
        self._start("ceph-mon", "-i", "a")
        osd = str(uuid4())
        (self.folder / "osd").mkdir()
        self._run("ceph", "--connect-timeout", "20", "osd", "new", osd)
        self._run("ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", osd)
        self._start("ceph-osd", "-i", "0")
        self.user = self.make_user("tests")
        self.restart()

    @property
    def _keyring(self) -> Path:
        return self.folder / "keyring"

    def _keys(self) -> None:
        """One keyring for all: it is also what the monitor begins with."""
        caps = {
            "mon.": {"mon": "allow *"},
            "client.admin": {"mon": "allow *", "osd": "allow *", "mgr": "allow *", "mds": "allow *"},
            "osd.0": {"mon": "allow profile osd", "osd": "allow *"},
            "client.rgw": {"mon": "allow rw", "osd": "allow rwx"},
        }
        for name, allowed in caps.items():
            create = [] if self._keyring.exists() else ["--create-keyring"]
            given = [word for service, cap in allowed.items() for word in ("--cap", service, cap)]
            self._run("ceph-authtool", str(self._keyring), *create, "--gen-key", "-n", name, *given)

    def _run(self, program: str, *arguments: str) -> str:
        command = [program, *arguments]
        if program.startswith(("ceph", "rados")) and program != "ceph-authtool":
            command += ["-c", str(self.folder / "ceph.conf")]
        done = subprocess.run(command, capture_output=True, text=True, cwd=self.folder, timeout=START_SECONDS)
        assert done.returncode == 0, f"{' '.join(command)}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
        return done.stdout

    def _start(self, program: str, *arguments: str) -> None:
        with (self.folder / f"{program}.out").open("ab") as output:
            self._running[program] = subprocess.Popen(
                [program, "-f", "-c", str(self.folder / "ceph.conf"), *arguments],
                stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=self.folder, start_new_session=True,
            )  # fmt: skip

        self._tell_guard(self._running[program].pid)

    def _tell_guard(self, pid: int) -> None:
        """What runs is ended also where the tests are killed: each pid is told of as it begins and as it has ended."""
        assert self._guard.stdin is not None
        self._guard.stdin.write(f"{pid}\n")
        self._guard.stdin.flush()

    def make_user(self, name: str = "") -> User:
        name = name or f"user-{uuid4().hex[:12]}"
        told = self._run("radosgw-admin", "-n", "client.rgw", "user", "create", "--uid", name, "--display-name", name)
        keys = json.loads(told)["keys"][0]
        return User(name, keys["access_key"], keys["secret_key"])

    def make_bucket(self, name: str = "", user: User | None = None) -> str:
        """A new bucket, made by S3 itself; returns its name."""
        name, user = name or f"bucket-{uuid4().hex[:12]}", user or self.user
        self.client(user).create_bucket(Bucket=name)
        return name

    def client(self, user: User | None = None) -> Any:
        """botocore's, for what stores do not do."""
        user = user or self.user
        if user.name not in self._clients:
            self._clients[user.name] = botocore.session.Session().create_client(
                "s3",
                region_name="us-east-1",
                endpoint_url=self.url,
                aws_access_key_id=user.access_key,
                aws_secret_access_key=user.secret_key,
            )
        return self._clients[user.name]

    def kept(self, key: str) -> bytes:
        """What the OSD keeps of the small objects with this key, as it keeps it."""
        pool, found = ("-n", "client.admin", "-p", "default.rgw.buckets.data"), b""
        for name in self._run("rados", *pool, "ls").splitlines():
            if name.endswith(f"_{key}"):
                self._run("rados", *pool, "get", name, str(self.folder / "kept"))
                found += (self.folder / "kept").read_bytes()
        return found

    def answers(self) -> bool:
        try:
            with urllib.request.urlopen(self.url, timeout=2):
                return True
        except urllib.error.HTTPError as e:
            e.close()
            return True
        except OSError:
            return False

    def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        """Kills the gateway; nobody listens at `url` until `restart`."""
        process = self._running.pop("radosgw", None)
        if process is not None:
            process.send_signal(number)
            process.wait(20)
            self._tell_guard(process.pid)

    def restart(self) -> None:
        """Starts the gateway, again at the same address, and waits for it to answer."""
        self.kill()
        self._start("radosgw", "-n", "client.rgw")

        def up() -> bool:
            assert self._running["radosgw"].poll() is None, "the gateway ended: " + self._log("client.rgw")
            return self.answers()

        until(up, START_SECONDS, "an answer of the object gateway")

    def _log(self, name: str) -> str:
        path = self.folder / f"{name}.log"
        return path.read_text(errors="replace")[-3000:] if path.exists() else ""

    def stop(self) -> None:
        """Ends all of it; nothing in it is worth a shutdown in order."""
        for client in self._clients.values():
            client.close()
        for process in reversed(self._running.values()):
            if process.poll() is None:
                os.kill(process.pid, signal.SIGKILL)
            process.wait(20)
            self._tell_guard(process.pid)
        self._running.clear()
        self._guard.communicate()
