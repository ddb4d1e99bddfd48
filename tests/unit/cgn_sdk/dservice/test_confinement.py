"""The filter of system calls and the fence of files: judged by a BPF machine, then attacked on this kernel (M-4)."""

import json
import os
import platform
import re
import struct
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from cgn_sdk.dservice import confinement as c

PID = 4242
MACHINES = sorted(c.ARCHITECTURES)
FORBIDDEN = {
    # name: x86_64, aarch64
    "socket": (41, 198), "connect": (42, 203), "bind": (49, 200), "listen": (50, 201), "accept": (43, 202),
    "accept4": (288, 242), "socketpair": (53, 199), "sendmsg": (46, 211), "sendmmsg": (307, 269),
    "fork": (57, None), "vfork": (58, None), "execve": (59, 221), "execveat": (322, 281), "ptrace": (101, 117),
    "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "process_madvise": (440, 440),
    "kcmp": (312, 272), "pidfd_open": (434, 434), "pidfd_getfd": (438, 438), "pidfd_send_signal": (424, 424),
    "tkill": (200, 130), "rt_sigqueueinfo": (129, 138), "rt_tgsigqueueinfo": (297, 240),
    "creat": (85, None), "truncate": (76, 45), "ftruncate": (77, 46), "rename": (82, None), "renameat2": (316, 276),
    "unlink": (87, None), "unlinkat": (263, 35), "link": (86, None), "linkat": (265, 37), "symlinkat": (266, 36),
    "mkdirat": (258, 34), "mknodat": (259, 33), "fchmodat": (268, 53), "fchownat": (260, 54), "setxattr": (188, 5),
    "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41), "chroot": (161, 51), "unshare": (272, 97),
    "setns": (308, 268), "move_mount": (429, 429), "open_tree": (428, 428), "fsopen": (430, 430),
    "mount_setattr": (442, 442), "open_by_handle_at": (304, 265),
    "add_key": (248, 217), "request_key": (249, 218), "keyctl": (250, 219), "bpf": (321, 280),
    "perf_event_open": (298, 241), "userfaultfd": (323, 282), "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426), "io_uring_register": (427, 427), "io_setup": (206, 0),
    "init_module": (175, 105), "finit_module": (313, 273), "kexec_load": (246, 104), "reboot": (169, 142),
    "setuid": (105, 146), "setresuid": (117, 147), "setgroups": (116, 159), "capset": (126, 91),
    "setrlimit": (160, 164), "personality": (135, 92), "sched_setaffinity": (203, 122), "setpriority": (141, 140),
    "shmget": (29, 194), "mq_open": (240, 180), "inotify_init1": (294, 26),
    "seccomp": (317, 277), "landlock_restrict_self": (446, 446), "quotactl": (179, 60), "swapon": (167, 224),
    "splice": (275, 76), "syslog": (103, 116), "acct": (163, 89), "settimeofday": (164, 170), "chdir": (80, 49),
}  # fmt: skip


def judged(machine: str, number: int, *arguments: int, architecture: int | None = None) -> int:
    """What the filter answers: a machine for the few steps of classic BPF that it uses."""
    data = struct.pack(
        "=IIQ6Q", number, c.ARCHITECTURES[machine] if architecture is None else architecture, 0,
        *(argument & (1 << 64) - 1 for argument in (*arguments, *(0,) * (6 - len(arguments)))),
    )  # fmt: skip
    program, at, accumulator = c.filter_program(machine, PID), 0, 0
    while True:
        code, yes, no, constant = program[at]
        at += 1
        match code:
            case 0x20:
                (accumulator,) = struct.unpack_from("=I", data, constant)
            case 0x54:
                accumulator &= constant
            case 0x15 | 0x25 | 0x35:
                held = {0x15: accumulator == constant, 0x25: accumulator > constant, 0x35: accumulator >= constant}
                at += yes if held[code] else no
            case 0x06:
                return constant
            case _:
                raise AssertionError(f"unknown step {code:#x}")


def number(machine: str, name: str) -> int | None:
    table = {**c.FREE, **c.JUDGED, **c.NEWER_FORMS, **FORBIDDEN}
    return table[name][0 if machine == "x86_64" else 1]


@pytest.mark.parametrize("machine", MACHINES)
def test_every_way_out_is_refused(machine: str) -> None:
    for name in FORBIDDEN:
        if (call := number(machine, name)) is not None:
            assert judged(machine, call) == c.REFUSE, name
            assert judged(machine, call, *[(1 << 64) - 1] * 6) == c.REFUSE, name


@pytest.mark.parametrize("machine", MACHINES)
def test_only_what_is_named_is_allowed(machine: str) -> None:
    allowed = {call for name in c.FREE if (call := number(machine, name)) is not None}
    judged_calls = {call for name in c.JUDGED if (call := number(machine, name)) is not None}
    for call in range(1024):
        answer = judged(machine, call)
        if call in allowed:
            assert answer == c.ALLOW
        elif call not in judged_calls:
            assert answer in (c.REFUSE, c.ABSENT)


CASES = [
    ("openat", (0, 0, os.O_RDONLY | os.O_CLOEXEC), True),
    ("openat", (0, 0, os.O_WRONLY), False),
    ("openat", (0, 0, os.O_RDWR), False),
    ("openat", (0, 0, os.O_CREAT), False),
    ("openat", (0, 0, os.O_TRUNC), False),
    ("openat", (0, 0, os.O_TMPFILE), False),
    ("openat", (0, 0, 1 << 32 | os.O_WRONLY), False),
    ("open", (0, os.O_RDONLY), True),
    ("open", (0, os.O_RDWR), False),
    ("sendto", (3, 0, 9, 0, 0, 0), True),
    ("sendto", (3, 0, 9, 0, 0x7FFF0000, 16), False),
    ("sendto", (3, 0, 9, 0, 1 << 40, 16), False),  # low half 0
    ("fcntl", (3, 1030), True),
    ("fcntl", (3, 8), False),  # F_SETOWN
    ("fcntl", (3, 10), False),  # F_SETSIG
    ("fcntl", (3, 15), False),
    ("ioctl", (1, 0x5401), True),
    ("ioctl", (0, 0x5412), False),  # TIOCSTI
    ("ioctl", (0, 1 << 32 | 0x5412), False),
    ("clone", (0x3D0F00,), True),  # as pthread_create calls it
    ("clone", (17,), False),  # fork
    ("clone", (0x4111,), False),  # vfork
    ("clone", (0x3D0F00 | 0x10000000,), False),  # with a user namespace
    ("clone", (0x3D0F00 | 0x40000000,), False),
    ("clone", (0x3D0F00 | 0x2000,), False),
    ("prctl", (15,), True),
    ("prctl", (0x53564D41,), True),
    ("prctl", (4, 1), False),  # dumpable again
    ("prctl", (1, 0), False),  # outlive the front
    ("prctl", (22,), False),
    ("prlimit64", (0, 7, 0, 0x1000), True),
    ("prlimit64", (PID, 7, 0, 0x1000), True),
    ("prlimit64", (0, 7, 0x1000, 0), False),
    ("prlimit64", (0, 7, 1 << 32, 0), False),
    ("prlimit64", (1, 7, 0, 0x1000), False),
    ("tgkill", (PID, 5, 6), True),
    ("tgkill", (PID - 1, PID - 1, 9), False),
    ("kill", (PID, 6), True),
    ("kill", (0, 9), False),
    ("kill", (-1, 9), False),
    ("kill", (1, 15), False),
]  # fmt: skip


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize(("name", "arguments", "allowed"), CASES)
def test_calls_are_judged_by_their_arguments(
    machine: str, name: str, arguments: tuple[int, ...], allowed: bool
) -> None:
    call = number(machine, name)
    if call is None:
        assert machine == "aarch64" and name == "open"
        return
    assert judged(machine, call, *arguments) == (c.ALLOW if allowed else c.REFUSE)


def test_calls_by_another_table_of_numbers_end_the_process() -> None:
    assert judged("x86_64", 0, architecture=0x40000003) == c.KILL_PROCESS  # i386
    assert judged("x86_64", 0x40000000) == c.KILL_PROCESS  # x32
    assert judged("aarch64", 63, architecture=0x40000028) == c.KILL_PROCESS  # 32-bit ARM
    assert judged("aarch64", 0, architecture=c.ARCHITECTURES["x86_64"]) == c.KILL_PROCESS


@pytest.mark.parametrize("machine", MACHINES)
def test_calls_that_hide_their_arguments_and_later_ones_seem_absent(machine: str) -> None:
    for call in (435, 437, 463, 500, 5000):
        assert judged(machine, call) == c.ABSENT


@pytest.mark.parametrize("machine", MACHINES)
def test_the_program_fits_the_kernels_bounds(machine: str) -> None:
    program = c.filter_program(machine, PID)
    assert len(program) < 4096
    for at, (code, yes, no, constant) in enumerate(program):
        assert 0 <= yes < 256 and 0 <= no < 256 and 0 <= constant < 1 << 32
        if code in (0x15, 0x25, 0x35):
            assert at + 1 + max(yes, no) < len(program)


@pytest.mark.parametrize(
    ("header", "column", "prefix"),
    [
        ("/usr/include/x86_64-linux-gnu/asm/unistd_64.h", 0, r"__NR_"),
        ("/usr/include/asm-generic/unistd.h", 1, r"__NR(?:3264)?_"),
    ],
)
def test_the_numbers_are_those_of_the_kernels_headers(header: str, column: int, prefix: str) -> None:
    if not Path(header).exists():
        pytest.skip(f"{header} is not installed")
    known = dict(re.findall(rf"#define {prefix}(\w+)\s+(\d+)", Path(header).read_text()))
    known.setdefault("newfstatat", known.get("fstatat", ""))
    for table in (c.FREE, c.JUDGED, c.NEWER_FORMS, FORBIDDEN):
        for name, numbers in table.items():
            if (call := numbers[column]) is not None and name in known:
                assert int(known[name]) == call, name


# -- on this kernel ---------------------------------------------------------------------------------------------------

PRELUDE = """
import ctypes, errno, json, os, signal, socket, subprocess, sys, threading
from pathlib import Path
from cgn_sdk.dservice import confinement
root = Path(sys.argv[1])
python = [Path(entry) for entry in (sys.prefix, sys.base_prefix, *sys.path) if entry]
libc = ctypes.CDLL(None, use_errno=True)
existing = threading.Event()
said = {}
def attempt(name, action):
    try:
        action()
        said[name] = "done"
    except OSError as error:
        said[name] = errno.errorcode.get(error.errno, str(error.errno))
def call(*arguments):
    if libc.syscall(*arguments) < 0:
        raise OSError(ctypes.get_errno(), "refused")
"""


def confined(tmp_path: Path, body: str) -> dict[str, str]:
    """Runs the body in a process of its own; what it said."""
    for name in ("open", "closed", "scratch"):
        (tmp_path / name).mkdir(exist_ok=True)
        (tmp_path / name / "file").write_text(name)
    text = PRELUDE + textwrap.dedent(body) + "\nprint(json.dumps(said))\n"
    ran = subprocess.run(
        [sys.executable, "-c", text, str(tmp_path)], capture_output=True, text=True, timeout=60, check=False,
        env={**os.environ, "PYTHONPATH": str(Path(c.__file__).parents[2])},
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout)


needs_filter = pytest.mark.skipif(platform.machine() not in c.ARCHITECTURES, reason="no table for this machine")


@needs_filter
def test_attacks_on_this_kernel_meet_the_filter(tmp_path: Path) -> None:
    """Every attempt is refused in the thread that asked for the filter and in one that was there before."""
    said = confined(
        tmp_path,
        """
        def attacks(where):
            attempt(where + "socket", lambda: socket.socket())
            attempt(where + "unix", lambda: socket.socket(socket.AF_UNIX))
            attempt(where + "packet", lambda: socket.socket(17, 3))
            attempt(where + "pair", lambda: socket.socketpair())
            attempt(where + "exec", lambda: os.execv("/bin/true", ["true"]))
            attempt(where + "spawn", lambda: subprocess.run(["/bin/true"]))
            attempt(where + "fork", lambda: os.fork() or os._exit(0))
            attempt(where + "ptrace", lambda: call(101, 16, os.getppid(), 0, 0))
            attempt(where + "kill parent", lambda: os.kill(os.getppid(), 0))
            attempt(where + "kill group", lambda: os.kill(0, 0))
            attempt(where + "shadow", lambda: os.open("/etc/shadow", os.O_RDWR))
            attempt(where + "create", lambda: os.open(str(root / "scratch/new"), os.O_WRONLY | os.O_CREAT))
            attempt(where + "unlink", lambda: os.unlink(root / "scratch/file"))
            attempt(where + "rename", lambda: os.rename(root / "scratch/file", root / "scratch/other"))
            attempt(where + "chmod", lambda: os.chmod(root / "scratch/file", 0o777))
            attempt(where + "parent memory", lambda: os.open(f"/proc/{os.getppid()}/mem", os.O_RDWR))
            attempt(where + "run memory", lambda: os.execve(os.memfd_create("x"), ["x"], {}))
            attempt(where + "affinity", lambda: os.sched_setaffinity(0, {0}))
        libc.syscall(39)
        go = threading.Event()
        early = threading.Thread(target=lambda: (go.wait(), attacks("early ")))
        early.start()
        missing = confinement.limit_calls()
        assert missing is None, missing
        attacks("")
        go.set(); early.join()
        """,
    )
    assert len(said) == 36
    assert {name: answer for name, answer in said.items() if answer != "EPERM"} == {}
    assert (tmp_path / "scratch/file").read_text() == "scratch"


@needs_filter
def test_with_the_filter_threads_reading_and_the_open_channel_go_on(tmp_path: Path) -> None:
    said = confined(
        tmp_path,
        """
        ours, theirs = socket.socketpair()
        assert confinement.limit_calls() is None
        worked = []
        threads = [threading.Thread(target=worked.append, args=(n,)) for n in range(8)]
        [thread.start() for thread in threads]; [thread.join() for thread in threads]
        assert sorted(worked) == list(range(8))
        ours.sendall(b"x" * 10); assert theirs.recv(20) == b"x" * 10
        assert (root / "open/file").read_text() == "open"
        said["random"] = str(len(os.urandom(16)))
        """,
    )
    assert said == {"random": "16"}


@needs_filter
def test_a_filter_cannot_be_taken_off_and_an_abort_still_ends_the_process(tmp_path: Path) -> None:
    said = confined(
        tmp_path,
        """
        assert confinement.limit_calls() is None
        said["again"] = str(confinement.limit_calls())
        """,
    )
    assert "no system call filter" in said["again"]
    code = "from cgn_sdk.dservice import confinement as c; import os; c.limit_calls(); os.abort()"
    ran = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(Path(c.__file__).parents[2])}, check=False,
        capture_output=True, preexec_fn=lambda: __import__("resource").setrlimit(4, (0, 0)),
    )  # fmt: skip
    assert ran.returncode == -6


def test_the_fence_leaves_what_is_named(tmp_path: Path) -> None:
    """Landlock: reading here, writing there, nothing elsewhere, no program, no abstract socket, no foreign signal."""
    said = confined(
        tmp_path,
        """
        listener = socket.socket(socket.AF_UNIX); name = "\\0cgn-test-%d" % os.getpid()
        if os.fork() == 0:
            os.closerange(1, 3); signal.alarm(5); listener.bind(name); listener.listen(); signal.pause()
        for _ in range(500):
            try:
                socket.socket(socket.AF_UNIX).connect(name); break
            except OSError:
                import time; time.sleep(0.01)
        child = os.fork()
        if child == 0:
            os.closerange(1, 3); signal.alarm(5); signal.pause()
        missing = confinement.limit_files([*python, Path("/usr"), Path("/lib"), root / "open", root / "absent"], [root / "scratch"])
        said["missing"] = str(missing)
        attempt("read", lambda: (root / "open/file").read_text())
        attempt("list", lambda: list((root / "open").iterdir()))
        attempt("scratch", lambda: (root / "scratch/new").write_text("x"))
        attempt("remove", lambda: (root / "scratch/new").unlink())
        attempt("write", lambda: (root / "open/file").write_text("x"))
        attempt("elsewhere", lambda: (root / "closed/file").read_text())
        attempt("list elsewhere", lambda: list((root / "closed").iterdir()))
        attempt("passwd", lambda: Path("/etc/passwd").read_text())
        attempt("shadow", lambda: Path("/etc/shadow").read_text())
        attempt("parent", lambda: Path(f"/proc/{os.getppid()}/environ").read_bytes())
        attempt("truncate", lambda: os.truncate(root / "open/file", 0))
        attempt("run", lambda: os.execv("/usr/bin/true", ["true"]))
        attempt("move out", lambda: os.rename(root / "scratch/file", root / "open/moved"))
        attempt("link in", lambda: os.link(root / "closed/file", root / "scratch/link"))
        attempt("signal", lambda: os.kill(child, 9))
        attempt("abstract", lambda: socket.socket(socket.AF_UNIX).connect(name))
        attempt("tcp", lambda: socket.socket().connect(("127.0.0.1", 9)))
        """,
    )
    if said["missing"] != "None":
        pytest.skip(said["missing"])
    allowed = {name for name, answer in said.items() if answer == "done"}
    assert allowed == {"read", "list", "scratch", "remove"}
    assert (tmp_path / "open/file").read_text() == "open"


def test_a_kernel_without_a_part_is_said_and_not_fatal(monkeypatch: pytest.MonkeyPatch) -> None:
    """The answers name what is missing, for the log of the operator."""

    class Without:
        @staticmethod
        def prctl(*arguments: int) -> int:
            return 0

        @staticmethod
        def syscall(*arguments: object) -> int:
            return -1

    monkeypatch.setattr(c, "_library", Without)
    monkeypatch.setattr(c.ctypes, "get_errno", lambda: 38)
    assert c.limit_files([Path("/usr")]) == "no fence around files: Function not implemented"
    if platform.machine() in c.ARCHITECTURES:
        assert c.limit_calls() == "no system call filter: Function not implemented"
    monkeypatch.setattr(c.platform, "machine", lambda: "riscv64")
    assert c.limit_calls() == "no system call filter: none is written for riscv64"
