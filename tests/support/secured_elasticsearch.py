"""A second Elasticsearch with TLS, users and roles, from the distribution that `infra/engine-elasticsearch` unpacked.

It has its own ports, settings and data in a temporary folder, 512 MiB of heap, and is stopped by its process id. The
roles are those that docs/reference/ledger.md names, read from there.
"""

import contextlib
import os
import pwd
import re
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from cgn_chassis.tls import Authority

ROOT = Path(__file__).resolve().parents[2]
PASSWORD = "p@ss/w:rd?%"
"""With every character that a URL gives a meaning to."""
ENCODED = "p%40ss%2Fw%3Ard%3F%25"
USERS = {
    "admin": "superuser",
    "node": "cgn_ledger_node",
    "payouts": "cgn_ledger_payouts",
    "verify": "cgn_ledger_verify",
    "nobody": "",
}
START_S = 120


class Secured(NamedTuple):
    port: int
    ca: Path

    def url(self, user: str, prefix: str, *, password: str = ENCODED) -> str:
        return f"https://{user}:{password}@127.0.0.1:{self.port}/{prefix}?ca={self.ca}"


def distribution() -> Path | None:
    """Where the engine script has unpacked it: as root beside the system's files, else in the cache."""
    homes = [Path("/var/tmp/cgn-elasticsearch"), ROOT / ".cache/elasticsearch/home"]
    found = [path for home in homes for path in home.glob("elasticsearch-*") if (path / "bin/elasticsearch").exists()]
    return found[0] if found else None


def roles(prefix: str) -> str:
    """The roles of the documentation, for indices of a prefix."""
    text = (ROOT / "docs/reference/ledger.md").read_text()
    match = re.search(r"```yaml\n(cgn_ledger_node:.*?)```", text, re.DOTALL)
    assert match is not None
    return match[1].replace("cgn-", f"{prefix}-")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def secured(prefix: str) -> Iterator[Secured]:
    """Starts the server, waits until it answers, and stops it."""
    program = distribution()
    assert program is not None, "infra/engine-elasticsearch unpacks it"
    folder = Path(tempfile.mkdtemp(prefix="cgn-secured-", dir="/tmp"))
    settings = folder / "config"
    try:
        shutil.copytree(program / "config", settings)
        authority = Authority.create("test")
        authority.issue_server("elasticsearch", ["127.0.0.1"]).save(settings / "http.crt", settings / "http.key")
        (folder / "ca.pem").write_bytes(authority.certificate_pem)
        port = _free_port()
        (settings / "elasticsearch.yml").write_text(
            f"cluster.name: cgn-secured\nnode.name: cgn-secured-1\nnetwork.host: 127.0.0.1\nhttp.port: {port}\n"
            f"transport.port: {_free_port()}\ndiscovery.type: single-node\n"
            "cluster.routing.allocation.disk.threshold_enabled: false\nxpack.security.enabled: true\n"
            "xpack.security.autoconfiguration.enabled: false\n"
            "xpack.security.http.ssl.enabled: true\nxpack.security.http.ssl.key: http.key\n"
            f"xpack.security.http.ssl.certificate: http.crt\npath.data: {folder}/data\npath.logs: {folder}/logs\n"
        )
        (settings / "jvm.options.d/heap.options").write_text("-Xms512m\n-Xmx512m\n")
        (settings / "roles.yml").write_text(roles(prefix))
        environment = {
            **os.environ,
            "ES_PATH_CONF": str(settings),
            "ES_JAVA_HOME": str(Path(shutil.which("java") or "").resolve().parents[1]),
        }
        as_user: list[str] = []
        if os.geteuid() == 0:
            pwd.getpwnam("cgn-es")
            subprocess.run(["chown", "-R", "cgn-es:", str(folder)], check=True)
            folder.chmod(0o755)
            as_user = ["runuser", "-u", "cgn-es", "--"]
        _add_users(program, settings, as_user, environment)
        with (folder / "start.log").open("wb") as log:
            process = subprocess.Popen(
                [*as_user, str(program / "bin/elasticsearch")],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            _wait(process, port, folder)
            yield Secured(port, folder / "ca.pem")
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)  # launcher and server: a group of their own
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _add_users(program: Path, settings: Path, as_user: list[str], environment: dict[str, str]) -> None:
    """One run of the tool makes the password's hash; the other users get the same (a run takes seconds)."""
    command = [str(program / "bin/elasticsearch-users"), "useradd", "admin", "-p", PASSWORD, "-r", "superuser"]
    done = subprocess.run([*as_user, *command], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    hash_ = next(line for line in (settings / "users").read_text().splitlines() if line.startswith("admin:"))[6:]
    (settings / "users").write_text("".join(f"{user}:{hash_}\n" for user in USERS))
    (settings / "users_roles").write_text("".join(f"{role}:{user}\n" for user, role in USERS.items() if role))


def _wait(process: subprocess.Popen[bytes], port: int, folder: Path) -> None:
    context = ssl.create_default_context(cafile=folder / "ca.pem")
    until = time.monotonic() + START_S
    while time.monotonic() < until:
        assert process.poll() is None, (folder / "start.log").read_text()[-3_000:]
        try:
            urllib.request.urlopen(f"https://127.0.0.1:{port}/_cluster/health", timeout=5, context=context)
        except urllib.error.HTTPError as error:
            error.close()
            if error.code == 401:
                return
        except OSError:
            pass
        time.sleep(0.5)
    raise AssertionError((folder / "start.log").read_text()[-3_000:])
