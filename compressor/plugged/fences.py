"""What keeps a plug-in's process to what it was handed. Set up by the process itself, before it imports the plug-in.

Landlock (Linux 5.13; landlock(7)) leaves it code to read and nothing to write; seccomp takes away sockets, programs,
further processes and other processes; limits bound its memory and time. Each holds for root too.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import platform
import resource
import signal
import struct
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS = 1, 4, 22, 38
FILES, ANSWER_BYTES = 64, 1024 * 1024

CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446  # the same on every architecture
READ_FILE, READ_DIR = 1 << 2, 1 << 3
RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15}  # how many rights of the file system a version of Landlock knows; 16 from 5 on
LIBRARIES = ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/usr/share/zoneinfo", "/etc/ld.so.cache")
DEVICES = ("/dev/null", "/dev/urandom", "/proc/cpuinfo", "/proc/meminfo", "/sys/devices/system/cpu")

# System calls that are refused: x86_64, aarch64. From Linux' unistd tables.
REFUSED = {
    "socket": (41, 198), "connect": (42, 203), "bind": (49, 200), "fork": (57, None), "vfork": (58, None),
    "execve": (59, 221), "execveat": (322, 281), "kill": (62, 129), "tkill": (200, 130), "ptrace": (101, 117),
    "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "pidfd_open": (434, 434),
    "pidfd_getfd": (438, 438), "pidfd_send_signal": (424, 424), "process_madvise": (440, 440), "kcmp": (312, 272),
    "memfd_create": (319, 279), "memfd_secret": (447, 447), "shmget": (29, 194), "msgget": (68, 186),
    "semget": (64, 190), "mq_open": (240, 180), "unshare": (272, 97), "setns": (308, 268), "mount": (165, 40),
    "io_uring_setup": (425, 425), "bpf": (321, 280), "perf_event_open": (298, 241), "userfaultfd": (323, 282),
    "keyctl": (250, 219), "add_key": (248, 217), "request_key": (249, 218), "setpriority": (141, 140),
    "sched_setaffinity": (203, 122), "sched_setscheduler": (144, 119), "sched_setparam": (142, 118),
    "ioprio_set": (251, 30), "rt_sigqueueinfo": (129, 138), "rt_tgsigqueueinfo": (297, 240),
}  # fmt: skip
CLONE, CLONE3, TGKILL, PRLIMIT64 = (56, 220), (435, 435), (234, 131), (302, 261)
MACHINES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}  # column above, and AUDIT_ARCH
CLONE_THREAD = 0x00010000
X32 = 0x40000000
ALLOW, KILL, ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
EPERM, ENOSYS = 1, 38
LOAD, EQUAL, AT_LEAST, ANY_BIT, RETURN = 0x20, 0x15, 0x35, 0x45, 0x06  # of classic BPF, linux/bpf_common.h
NUMBER, ARCHITECTURE, FIRST = 0, 4, 16  # offsets into struct seccomp_data; the low half of the first argument

libc = ctypes.CDLL(None, use_errno=True)


def enclose(memory_bytes: int, cpu_seconds: int, readable: list[Path]) -> list[str]:
    """Fences this process in for good; returns the names of the fences that this kernel has."""
    parent = os.getppid()
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
    libc.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
    _drop_capabilities()
    for limit, most in (
        (resource.RLIMIT_AS, memory_bytes),
        (resource.RLIMIT_CPU, cpu_seconds),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, ANSWER_BYTES),
        (resource.RLIMIT_NOFILE, FILES),
    ):
        resource.setrlimit(limit, (most, most))
    if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "PR_SET_NO_NEW_PRIVS")
    return [name for name, stands in (("landlock", _landlock(readable)), ("seccomp", _seccomp())) if stands]


def _drop_capabilities() -> None:
    """What root can do beside being root goes; version 3 of capset(2)."""
    header, none = ctypes.create_string_buffer(struct.pack("Ii", 0x20080522, 0)), ctypes.create_string_buffer(24)
    libc.capset(header, none)


def code_of(entry_module: str) -> list[Path]:
    """What has to be readable so that the plug-in can be imported: Python, its packages, and what lies beside them.

    A folder on the path that is no place for packages may hold anything: of such only modules and packages are. Looks
    into all of them once, since they cannot be listed afterwards.
    """
    places = {Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    found = [*places, *(Path(p) for p in (*LIBRARIES, *DEVICES))]
    for folder in {Path(p).resolve() for p in sys.path if Path(p).is_dir()}:
        if not any(folder.is_relative_to(place) for place in places):
            found += _modules_in(folder)
    importlib.util.find_spec("no_module_has_this_name")
    for name in (entry_module.partition(".")[0], "chipmunk"):
        spec = importlib.util.find_spec(name)
        if spec is not None:
            found += [Path(p) for p in spec.submodule_search_locations or ([spec.origin] if spec.origin else [])]
    return found


def _modules_in(folder: Path) -> Iterator[Path]:
    if folder.name in ("site-packages", "dist-packages", "lib-dynload"):
        yield folder
        return
    for path in folder.iterdir():
        if path.suffix in (".py", ".so") or os.access(path / "__init__.py", os.R_OK):
            yield path


def _landlock(readable: list[Path]) -> bool:
    version = libc.syscall(CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint(1))
    if version < 1:
        return False
    handled = (1 << RIGHTS.get(version, 16)) - 1
    wanted = struct.pack("QQQ", handled, 3 if version >= 4 else 0, 3 if version >= 6 else 0)
    size = 24 if version >= 6 else 16 if version >= 4 else 8
    ruleset = libc.syscall(CREATE_RULESET, wanted[:size], ctypes.c_size_t(size), ctypes.c_uint(0))
    if ruleset < 0:
        return False
    for path in (p for p in readable if p.exists()):
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
        rights = READ_FILE | (READ_DIR if path.is_dir() else 0)
        libc.syscall(
            ADD_RULE, ctypes.c_int(ruleset), ctypes.c_int(1), struct.pack("=Qi", rights, place), ctypes.c_uint(0)
        )
        os.close(place)
    stands = bool(libc.syscall(RESTRICT_SELF, ctypes.c_int(ruleset), ctypes.c_uint(0)) == 0)
    os.close(ruleset)
    return stands


def _seccomp() -> bool:
    if platform.machine() not in MACHINES or sys.maxsize < 2**32:
        return False
    program = b"".join(struct.pack("HBBI", *line) for line in _filter(*MACHINES[platform.machine()]))
    lines = ctypes.create_string_buffer(program)
    told = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(lines)))
    return bool(libc.prctl(PR_SET_SECCOMP, 2, told, 0, 0) == 0)


def _filter(column: int, architecture: int) -> list[tuple[int, int, int, int]]:
    """Refuses the calls of the table, processes that are no threads, and signals and limits for others than this one."""
    lines = [
        (LOAD, 0, 0, ARCHITECTURE), (EQUAL, 1, 0, architecture), (RETURN, 0, 0, KILL),
        (LOAD, 0, 0, NUMBER), (AT_LEAST, 0, 1, X32), (RETURN, 0, 0, KILL),
        (EQUAL, 0, 1, CLONE3[column]), (RETURN, 0, 0, ERRNO | ENOSYS),
    ]  # fmt: skip
    for numbers in REFUSED.values():
        number = numbers[column]
        if number is not None:
            lines += [(EQUAL, 0, 1, number), (RETURN, 0, 0, ERRNO | EPERM)]
    for number, test in (
        (CLONE[column], (ANY_BIT, 1, 0, CLONE_THREAD)),
        (TGKILL[column], (EQUAL, 1, 0, os.getpid())),
        (PRLIMIT64[column], (EQUAL, 1, 0, 0)),
    ):
        lines += [
            (EQUAL, 0, 4, number),
            (LOAD, 0, 0, FIRST),
            test,
            (RETURN, 0, 0, ERRNO | EPERM),
            (RETURN, 0, 0, ALLOW),
        ]
    return [*lines, (RETURN, 0, 0, ALLOW)]
