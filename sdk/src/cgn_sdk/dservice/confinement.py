"""What a process that handles strangers' data may still ask of the kernel: a filter of system calls, a fence of files.

For a DService's decoding processes. `limit_files` (Landlock) comes first, while the process has one thread: from then
on only named folders can be read, less be written, and nothing be run. `limit_calls` (seccomp-BPF) comes when
libraries are loaded and before the first stranger's byte: an allow-list. What it leaves: memory, threads, clocks,
reading of files, and the descriptors that are open. What it takes, for all threads and for good: sockets, other
programs and processes, tracing, signals to others, opening for writing, mounts, namespaces, keys, bpf, io_uring, other
limits, and whatever a later kernel invents.

Nothing here needs privileges. Where a kernel lacks a part, the call says so in its answer instead of failing: a
container without it is still a container, and the operator's log should tell. Linux on x86_64 and aarch64.

Source: M-4; seccomp(2), landlock(7) and linux/landlock.h up to ABI 6; numbers: asm/unistd_64.h,
asm-generic/unistd.h.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

Instruction = tuple[int, int, int, int]
"""One step of classic BPF: code, jump if true, jump if false, constant."""

ARCHITECTURES: Final = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
"""AUDIT_ARCH_* as seccomp sees them."""
ALLOW: Final = 0x7FFF0000
KILL_PROCESS: Final = 0x80000000
_ERRNO: Final = 0x00050000
REFUSE: Final = _ERRNO | errno.EPERM
ABSENT: Final = _ERRNO | errno.ENOSYS
"""The answer of an older kernel: libraries then take their older way, which can be judged by its arguments."""

_X32_BIT: Final = 0x40000000
_NEWEST_KNOWN: Final = 462
"""mseal, Linux 6.10. Above it the filter answers as a kernel that does not know the call."""

# Name: number on x86_64, number on aarch64 (None: has no such call). Frequent ones first: kernels before 5.11 walk it.
FREE: Final[dict[str, tuple[int | None, int | None]]] = {
    "futex": (202, 98), "mprotect": (10, 226), "mmap": (9, 222), "munmap": (11, 215), "madvise": (28, 233),
    "read": (0, 63), "write": (1, 64), "close": (3, 57), "gettid": (186, 178), "newfstatat": (262, 79),
    "rt_sigprocmask": (14, 135), "recvmsg": (47, 212), "recvfrom": (45, 207), "poll": (7, None), "ppoll": (271, 73),
    "lseek": (8, 62), "fstat": (5, 80), "stat": (4, None), "lstat": (6, None), "access": (21, None),
    "faccessat": (269, 48), "faccessat2": (439, 439), "statx": (332, 291), "readlink": (89, None),
    "readlinkat": (267, 78), "getdents64": (217, 61), "getcwd": (79, 17), "statfs": (137, 43), "fstatfs": (138, 44),
    "pread64": (17, 67), "readv": (19, 65), "writev": (20, 66), "dup": (32, 23), "eventfd2": (290, 19),
    "memfd_create": (319, 279),
    "brk": (12, 214), "mremap": (25, 216), "mincore": (27, 232), "pkey_mprotect": (329, 288), "pkey_alloc": (330, 289),
    "pkey_free": (331, 290), "membarrier": (324, 283),
    "rt_sigaction": (13, 134), "rt_sigreturn": (15, 139), "sigaltstack": (131, 132), "restart_syscall": (219, 128),
    "set_robust_list": (273, 99), "set_tid_address": (218, 96), "rseq": (334, 293), "exit": (60, 93),
    "exit_group": (231, 94), "futex_waitv": (449, 449),
    "nanosleep": (35, 101), "clock_nanosleep": (230, 115), "clock_gettime": (228, 113), "clock_getres": (229, 114),
    "gettimeofday": (96, 169), "time": (201, None), "times": (100, 153),
    "sched_yield": (24, 124), "sched_getaffinity": (204, 123), "sched_getparam": (143, 121),
    "sched_getscheduler": (145, 120), "sched_get_priority_max": (146, 125), "sched_get_priority_min": (147, 126),
    "sched_getattr": (315, 275),
    "getpid": (39, 172), "getppid": (110, 173), "getuid": (102, 174), "geteuid": (107, 175), "getgid": (104, 176),
    "getegid": (108, 177), "getrandom": (318, 278), "uname": (63, 160), "sysinfo": (99, 179), "getrusage": (98, 165),
    "getrlimit": (97, 163), "getsockname": (51, 204), "getsockopt": (55, 209),
}  # fmt: skip
"""Calls that are allowed whatever their arguments. Anonymous files in memory (for libraries that want a file name) are
bounded by RLIMIT_FSIZE and RLIMIT_NOFILE, and can no more be run than others."""

JUDGED: Final[dict[str, tuple[int | None, int | None]]] = {
    "openat": (257, 56), "open": (2, None), "sendto": (44, 206), "fcntl": (72, 25), "ioctl": (16, 29),
    "clone": (56, 220), "prctl": (157, 167), "prlimit64": (302, 261), "tgkill": (234, 131), "kill": (62, 129),
}  # fmt: skip
"""Calls that are allowed with some arguments (`_conditions`)."""
NEWER_FORMS: Final[dict[str, tuple[int | None, int | None]]] = {"clone3": (435, 435), "openat2": (437, 437)}
"""Their arguments lie in memory, where a filter cannot look: answered ABSENT."""

_LOAD: Final = 0x20  # BPF_LD | BPF_W | BPF_ABS
_AND: Final = 0x54  # BPF_ALU | BPF_AND | BPF_K
_EQUAL: Final = 0x15  # BPF_JMP | BPF_JEQ | BPF_K
_ABOVE: Final = 0x25  # BPF_JMP | BPF_JGT | BPF_K
_AT_LEAST: Final = 0x35  # BPF_JMP | BPF_JGE | BPF_K
_RETURN: Final = 0x06
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16  # offsets in struct seccomp_data

_WRITING: Final = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | 0o20000000  # the last is __O_TMPFILE
_FCNTL: Final = (0, 1, 2, 3, 4, 1030, 1034)
"""DUPFD, GETFD, SETFD, GETFL, SETFL, DUPFD_CLOEXEC, GET_SEALS. Not SETOWN and SETSIG: they send signals to others."""
_IOCTL: Final = (0x5401, 0x541B, 0x5421, 0x5450, 0x5451)
"""TCGETS (isatty), FIONREAD, FIONBIO, FIONCLEX, FIOCLEX. Not TIOCSTI: it types into the operator's terminal."""
_PRCTL: Final = (15, 16, 0x53564D41)
"""SET_NAME, GET_NAME, SET_VMA: names of threads and of memory. Not SET_PDEATHSIG, SET_DUMPABLE."""
_THREAD: Final = 0x100 | 0x800 | 0x10000
"""CLONE_VM, CLONE_SIGHAND, CLONE_THREAD: another thread, not another process."""
_NEVER_WITH_THREAD: Final = (
    0x2000 | 0x20000 | 0x02000000 | 0x04000000 | 0x08000000 | 0x10000000 | 0x20000000 | 0x40000000
)
"""CLONE_PTRACE and CLONE_NEW*."""


@dataclass(frozen=True, slots=True)
class Condition:
    """Of one argument (0 to 5): its low half after `mask` is one of `values`, its high half 0 if `whole`."""

    argument: int
    values: tuple[int, ...]
    mask: int = 0xFFFFFFFF
    whole: bool = False


def _conditions(name: str, pid: int) -> tuple[Condition, ...]:
    """What must hold for a call of JUDGED. A kernel's int arguments are judged by the half that it looks at."""
    match name:
        case "open":
            return (Condition(1, (0,), _WRITING),)
        case "openat":
            return (Condition(2, (0,), _WRITING),)
        case "sendto":
            return (Condition(4, (0,), whole=True),)  # without an address: over what is connected already
        case "fcntl":
            return (Condition(1, _FCNTL),)
        case "ioctl":
            return (Condition(1, _IOCTL),)
        case "clone":
            return (Condition(0, (_THREAD,), _THREAD | _NEVER_WITH_THREAD),)
        case "prctl":
            return (Condition(0, _PRCTL),)
        case "prlimit64":
            return (Condition(0, (0, pid)), Condition(2, (0,), whole=True))  # asking, not setting
    assert name in ("tgkill", "kill")
    return (Condition(0, (pid,)),)


def filter_program(architecture: str, pid: int) -> list[Instruction]:
    """The seccomp program for the process `pid` on an architecture of `ARCHITECTURES` (KeyError for others)."""
    column = list(ARCHITECTURES).index(architecture)
    program: list[Instruction] = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_EQUAL, 1, 0, ARCHITECTURES[architecture]),
        (_RETURN, 0, 0, KILL_PROCESS),  # 32-bit calls have other numbers
        (_LOAD, 0, 0, _NUMBER),
    ]
    if architecture == "x86_64":
        program += [(_AT_LEAST, 0, 1, _X32_BIT), (_RETURN, 0, 0, KILL_PROCESS)]
    for numbers in FREE.values():
        if (number := numbers[column]) is not None:
            program += [(_EQUAL, 0, 1, number), (_RETURN, 0, 0, ALLOW)]
    for name, numbers in JUDGED.items():
        if (number := numbers[column]) is not None:
            block = _judging(_conditions(name, pid))
            program += [(_EQUAL, 0, len(block), number), *block]
    for numbers in NEWER_FORMS.values():
        program += [(_EQUAL, 0, 1, numbers[column] or 0), (_RETURN, 0, 0, ABSENT)]
    return [*program, (_ABOVE, 0, 1, _NEWEST_KNOWN), (_RETURN, 0, 0, ABSENT), (_RETURN, 0, 0, REFUSE)]


def _judging(conditions: Sequence[Condition]) -> list[Instruction]:
    """ALLOW if all conditions hold, else REFUSE."""
    block: list[Instruction] = [(_RETURN, 0, 0, ALLOW), (_RETURN, 0, 0, REFUSE)]
    for condition in reversed(conditions):  # from behind, so that the way to the end is known
        offset = _ARGUMENTS + 8 * condition.argument
        refusal = len(block) - 1
        tests: list[Instruction] = []
        for index, value in enumerate(condition.values):
            left = len(condition.values) - 1 - index
            tests.append((_EQUAL, left, refusal if left == 0 else 0, value))
        head: list[Instruction] = [(_LOAD, 0, 0, offset)]
        if condition.mask != 0xFFFFFFFF:
            head.append((_AND, 0, 0, condition.mask))
        if condition.whole:
            inside = len(head) + len(tests)
            head = [(_LOAD, 0, 0, offset + 4), (_EQUAL, 0, inside + refusal, 0), *head]
        block = [*head, *tests, *block]
    return block


# -- the kernel's side ------------------------------------------------------------------------------------------------

_SYSCALL_SECCOMP: Final = {"x86_64": 317, "aarch64": 277}
_SET_MODE_FILTER, _FLAG_ALL_THREADS = 1, 1
_PR_SET_NO_NEW_PRIVS: Final = 38
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_RULE_PATH_BENEATH: Final = 1
_READ_FILE, _READ_FOLDER = 1 << 2, 1 << 3
_CHANGE: Final = 1 << 1 | 1 << 4 | 1 << 5 | 1 << 7 | 1 << 8
"""WRITE_FILE, REMOVE_DIR, REMOVE_FILE, MAKE_DIR, MAKE_REG: what a folder of temporary files needs."""
_TRUNCATE, _REFER = 1 << 14, 1 << 13
_OF_FILES: Final = 1 << 0 | 1 << 1 | 1 << 2 | _TRUNCATE | 1 << 15
"""Rights that a rule for a single file may name."""


class _Filter(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("steps", ctypes.c_char_p))


def limit_calls() -> str | None:
    """Puts the filter on all threads of this process, for good. None if it holds, else why it does not."""
    machine = platform.machine()
    if machine not in ARCHITECTURES or struct.calcsize("P") != 8:
        return f"no system call filter: none is written for {machine}"
    program = filter_program(machine, os.getpid())
    steps = b"".join(struct.pack("=HBBI", *step) for step in program)
    described = _Filter(len(program), steps)
    library = _library()
    _no_new_privileges(library)
    number = _SYSCALL_SECCOMP[machine]
    answer = library.syscall(number, _SET_MODE_FILTER, _FLAG_ALL_THREADS, ctypes.byref(described))
    if answer == 0:
        return None
    reason = os.strerror(ctypes.get_errno()) if answer < 0 else f"thread {answer} has another filter"
    return f"no system call filter: {reason}"


def limit_files(readable: Iterable[Path], writable: Iterable[Path] = ()) -> str | None:
    """This thread and its later ones may read below `readable`, read and write below `writable`, and run nothing.

    Missing paths are left out. With it, where the kernel is new enough, go TCP, abstract UNIX sockets and signals to
    processes outside. None if it holds, else why it does not. To be called while there is one thread only.
    """
    library = _library()
    version = library.syscall(_CREATE_RULESET, None, 0, 1)
    if version < 1:
        return f"no fence around files: {os.strerror(ctypes.get_errno())}"
    handled = (1 << 13) - 1
    if version >= 2:
        handled |= _REFER
    if version >= 3:
        handled |= _TRUNCATE
    if version >= 5:
        handled |= 1 << 15
    attributes = struct.pack("=Q", handled)
    if version >= 4:
        attributes += struct.pack("=Q", 3)  # BIND_TCP, CONNECT_TCP
    if version >= 6:
        attributes += struct.pack("=Q", 3)  # ABSTRACT_UNIX_SOCKET, SIGNAL
    rules = library.syscall(_CREATE_RULESET, attributes, len(attributes), 0)
    if rules < 0:
        return f"no fence around files: {os.strerror(ctypes.get_errno())}"
    try:
        reading = _READ_FILE | _READ_FOLDER
        for paths, rights in ((readable, reading), (writable, (reading | _CHANGE | _TRUNCATE | _REFER) & handled)):
            for path in paths:
                _allow_below(library, rules, path, rights)
        _no_new_privileges(library)
        if library.syscall(_RESTRICT_SELF, rules, 0) != 0:
            return f"no fence around files: {os.strerror(ctypes.get_errno())}"
    finally:
        os.close(rules)
    return None


def _allow_below(library: ctypes.CDLL, rules: int, path: Path, rights: int) -> None:
    try:
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return  # what is not there needs no right
    try:
        if not path.is_dir():
            rights &= _OF_FILES
        if library.syscall(_ADD_RULE, rules, _RULE_PATH_BENEATH, struct.pack("=Qi", rights, descriptor), 0) != 0:
            raise OSError(ctypes.get_errno(), "the kernel refused a rule", str(path))
    finally:
        os.close(descriptor)


def _no_new_privileges(library: ctypes.CDLL) -> None:
    """Without it an unprivileged process may take neither step (that one then says so); and with it a set-user-id
    program is no way out."""
    library.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)


def _library() -> ctypes.CDLL:
    library = ctypes.CDLL(None, use_errno=True)
    library.syscall.restype = ctypes.c_long
    return library
