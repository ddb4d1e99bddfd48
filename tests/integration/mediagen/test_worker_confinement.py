"""A worker whose decoder has been taken over (G-6, M-4): what its code can still reach. The stand-in for the hole in a
decoder is a hook that a test puts beside the packages: it runs the Python text of a source whose first bytes are ATTACK.
"""

import json
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

HOOK = """
import importlib.abc, importlib.machinery, sys

class Hole(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name != "dservices.mediagen.formats.decoding":
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        honest_exec = spec.loader.exec_module
        def exec_module(module):
            honest_exec(module)
            honest_load = module.load
            def load(data, *rest):
                if bytes(data[:6]) != b"ATTACK":
                    return honest_load(data, *rest)
                from cgn_sdk.dservice.problems import Problem
                said = {}
                exec(bytes(data[6:]).decode(), {"said": said})
                raise Problem(422, "attack", "the attack is over", said=said)
            module.load = load
        spec.loader.exec_module = exec_module
        return spec

sys.meta_path.insert(0, Hole())
"""

ATTACKS = {
    "socket": "import socket; socket.socket()",
    "datagram": "import socket; socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)",
    "netlink": "import socket; socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)",
    "UNIX socket": "import socket; socket.socket(socket.AF_UNIX).connect('SECRET.sock')",
    "abstract UNIX socket": "import socket; socket.socket(socket.AF_UNIX).connect('\\0cgn')",
    "connect the channel": "libc(42, 3, b'\\x02\\0\\0\\x50\\x7f\\0\\0\\x01' + bytes(8), 16)",
    "send elsewhere": "libc(44, 3, b'x', 1, 0, b'\\x02\\0\\0\\x50\\x7f\\0\\0\\x01' + bytes(8), 16)",
    "hand over a descriptor": "import socket, array; s = socket.socket(fileno=3); kept.append(s); s.sendmsg([b'x'], [(1, 1, array.array('i', [0]))])",
    "execve": "os.execv('/bin/sh', ['sh', '-c', 'id'])",
    "fork": "os.fork() or os._exit(0)",
    "fork and exec": "import subprocess; subprocess.run(['/bin/true'])",
    "posix_spawn": "os.posix_spawn('/bin/true', ['true'], {})",
    "clone with a user namespace": "libc(56, 0x10000000 | 17, 0, 0, 0, 0)",
    "unshare": "libc(272, 0x10000000)",
    "ptrace the front": "libc(101, 16, os.getppid(), 0, 0)",
    "read the front's memory": "libc(310, os.getppid(), 0, 0, 0, 0, 0)",
    "write the front's memory": "libc(311, os.getppid(), 0, 0, 0, 0, 0)",
    "open the front's memory": "os.open(f'/proc/{os.getppid()}/mem', os.O_RDWR)",
    "the front's environment": "open(f'/proc/{os.getppid()}/environ', 'rb').read()",
    "the front's descriptors": "os.listdir(f'/proc/{os.getppid()}/fd')",
    "kill the front": "os.kill(os.getppid(), 15)",
    "kill everybody": "os.kill(-1, 15)",
    "kill the group": "os.killpg(0, 15)",
    "signals through a descriptor": "import fcntl; fcntl.fcntl(3, 8, os.getppid())",
    "type into the terminal": "import fcntl; fcntl.ioctl(2, 0x5412, b'x')",
    "outlive the front": "libc(157, 1, 0, 0, 0, 0)",
    "be traced": "libc(157, 4, 1, 0, 0, 0)",
    "raise a limit": "libc(302, 0, 7, bytes(16), 0)",
    "another's limit": "libc(302, os.getppid(), 7, b'\\0' * 16, 0)",
    "write shadow": "os.open('/etc/shadow', os.O_WRONLY)",
    "read shadow": "os.open('/etc/shadow', os.O_RDONLY)",
    "read passwd": "open('/etc/passwd').read()",
    "read what lies about": "open('SECRET').read()",
    "list what lies about": "os.listdir('FOLDER')",
    "change what lies about": "open('SECRET', 'w')",
    "make a file": "open('FOLDER/new', 'x')",
    "make a file in the fonts' folder": "import tempfile; tempfile.mkstemp()",
    "remove a file": "os.unlink('SECRET')",
    "rename": "os.rename('SECRET', 'FOLDER/other')",
    "link": "os.link('SECRET', 'FOLDER/other')",
    "truncate": "os.truncate('SECRET', 0)",
    "chmod": "os.chmod('SECRET', 0o777)",
    "make a folder": "os.mkdir('FOLDER/sub')",
    "run an anonymous file": "f = os.memfd_create('x'); os.write(f, b'#!/bin/sh'); os.execve(f, ['x'], {})",
    "a large anonymous file": "f = os.memfd_create('x'); os.ftruncate(f, 1 << 40)",
    "mount": "libc(165, b'none', b'/mnt', b'tmpfs', 0, 0)",
    "chroot": "os.chroot('/')",
    "keys": "libc(250, 0, 0, 0, 0, 0)",
    "add a key": "libc(248, b'user', b'x', b'y', 1, 0)",
    "bpf": "libc(321, 0, 0, 0)",
    "perf": "libc(298, 0, 0, 0, 0, 0)",
    "userfaultfd": "libc(323, 0)",
    "io_uring": "libc(425, 8, bytes(256))",
    "io_setup": "libc(206, 1, bytes(8))",
    "open by handle": "libc(304, 3, bytes(32), 0)",
    "pidfd of the front": "os.pidfd_open(os.getppid())",
    "become another": "os.setresuid(1, 1, 1)",
    "capabilities": "libc(126, 0, 0)",
    "another filter": "libc(317, 1, 0, 0)",
    "personality": "libc(135, 0x0040000)",
    "load a module": "libc(313, 3, b'', 0)",
}  # fmt: skip
"""Python text by what it tries; `libc` makes a raw call by its x86_64 number."""

PRELUDE = """
import ctypes, errno, os
_library = ctypes.CDLL(None, use_errno=True)
kept = []
def libc(*arguments):
    if _library.syscall(*arguments) < 0:
        raise OSError(ctypes.get_errno(), "refused")
for name, text in ATTACKS.items():
    try:
        exec(text)
        said[name] = "done"
    except OSError as error:
        said[name] = errno.errorcode[error.errno]
    except BaseException as error:
        said[name] = repr(error)
for one in kept:
    one.detach()
"""


@pytest.fixture(scope="module")
def holed(start_mediagen: Callable, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple]:
    """A service whose decoder has a hole, and a folder beside it with a secret and a listening socket."""
    folder = tmp_path_factory.mktemp("hole")
    (folder / "hook").mkdir()
    (folder / "hook/sitecustomize.py").write_text(HOOK)
    (folder / "lies-about").mkdir()
    secret = folder / "lies-about/secret"
    secret.write_text("of the DService")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{secret}.sock")
        listener.listen()
        rig = start_mediagen(PYTHONPATH=os.pathsep.join([str(folder / "hook"), os.environ.get("PYTHONPATH", "")]))
        yield rig, secret


def attacked(rig, secret: Path, attacks: dict[str, str]) -> dict[str, str]:
    text = f"ATTACK\nATTACKS = {attacks!r}\n{PRELUDE}"
    text = text.replace("SECRET", str(secret)).replace("FOLDER", str(secret.parent))
    url = rig.origin.add("attack.bin", text)
    answer = rig.run(f"var m = new Media(); m.load(name @ '{url}');", name="attack.ms")
    assert answer.status == 422, answer.body
    assert answer.problem["type"].endswith("attack")
    return answer.problem["said"]


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="the numbers of the raw calls are those of x86_64")
def test_code_inside_a_worker_reaches_nothing(holed) -> None:
    rig, secret = holed
    said = attacked(rig, secret, ATTACKS)
    assert len(said) == len(ATTACKS) >= 55
    # EACCES is Landlock's word, EPERM the filter's. Anything else would mean that the attack was not even tried.
    assert {name: answer for name, answer in said.items() if answer not in ("EPERM", "EACCES")} == {}
    assert secret.read_text() == "of the DService"
    assert sorted(path.name for path in secret.parent.iterdir()) == ["secret", "secret.sock"]
    assert rig.alive()


def test_confinement_holds_in_every_thread_and_for_good(holed) -> None:
    rig, secret = holed
    said = attacked(
        rig, secret,
        {
            "in a new thread": "import threading, socket\nr = []\ndef f():\n  try:\n    socket.socket(); r.append('done')\n  except OSError as e: r.append(e.errno)\nt = threading.Thread(target=f); t.start(); t.join(); said['thread'] = str(r[0])",
            "a": "said['status'] = '|'.join(l.strip() for l in open('/proc/self/status') if l.startswith(('Seccomp:', 'NoNewPrivs:')))",
            "b": "said['tasks'] = str({next(l for l in open(f'/proc/self/task/{t}/status') if l.startswith('Seccomp:')).split()[1] for t in os.listdir('/proc/self/task')})",
        },
    )  # fmt: skip
    assert said["thread"] == "1"
    assert said["status"] == "NoNewPrivs:\t1|Seccomp:\t2"
    assert said["tasks"] == "{'2'}"
    assert rig.alive()


def test_calls_of_32_bit_end_the_worker_and_the_service_goes_on(holed) -> None:
    """x32 numbers bypass a filter that looks at the number alone: this one ends the process, and the pool answers."""
    rig, secret = holed
    text = "ATTACK\nimport ctypes; ctypes.CDLL(None).syscall(0x40000000 + 39)"
    url = rig.origin.add("x32.bin", text)
    answer = rig.run(f"var m = new Media(); m.load(name @ '{url}');", name="x32.ms")
    assert answer.status == 422 and answer.problem["type"].endswith("work_failed")
    assert rig.alive()


def test_pictures_text_and_pages_are_made_in_confinement(holed, media: dict[str, bytes]) -> None:
    """V8, libvips with its threads, fonts and PDFium, in the worker that was attacked."""
    rig, _ = holed
    for source in ("photo.jpg", "document.pdf"):
        made = rig.run(
            f"var m = new Media(); m.load(name @ '{rig.origin.url(source)}'); m.scale(xs @ 120);"
            " m.drawText(text @ 'ordinary', color @ 0xff0000); m.colorCorrect(destProfile @ 'cmyk');"
            " m.colorCorrect(destProfile @ 'rgb'); m.save(type @ 'webp');"
        )
        assert made.status == 200, made.body
        assert made.body[8:12] == b"WEBP"
    moving = rig.run(
        "var m = new Media(), f; m.makeCanvas(xs @ 90, ys @ 60); f = m.clone(); f.drawText(text @ 'moves', color @ 0xff);"
        " m.setFrame(2, f); m.setMetadata('Exif', '<Exif><Artist>me</Artist></Exif>');"
        " m.save(type @ 'webp', delay @ 50, lossless @ true, saveMetadata @ true);"
    )
    assert moving.status == 200, moving.body
    assert all(name in moving.body for name in (b"ANIM", b"EXIF", b"me\0"))


def test_pillow_in_a_worker_has_no_reader_but_that_of_webp(holed) -> None:
    """Pillow is there to write WebP, which brings its reader; what reads other formats is not even loaded."""
    rig, secret = holed
    said = attacked(
        rig, secret,
        {"a": "import sys\nsaid['readers'] = '|'.join(sys.modules['PIL.Image'].OPEN)\nsaid['plugins'] = '|'.join(n for n in sys.modules if n.endswith('ImagePlugin'))"},
    )  # fmt: skip
    assert (said["readers"], said["plugins"]) == ("WEBP", "PIL.WebPImagePlugin")
    assert json.dumps(rig.alive()) == "true"
