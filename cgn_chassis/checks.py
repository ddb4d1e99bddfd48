"""What every `--check` looks at alike: databases, ports, files (O-5). Certificates are `tls.credential_findings`.

A finding is a sentence that begins with the setting's name. What is only worth knowing, such as a port that this very
program may have already, is a note and no mistake.
"""

import os
import sqlite3
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from cgn_chassis import failures


@dataclass
class Findings:
    """What is wrong, and what is worth knowing."""

    mistakes: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def port(self, what: str, host: str, port: int) -> None:
        """Whether the address can be listened on."""
        import socket

        if not port:
            return
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
            with socket.socket(found[0], found[1]) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(found[4])
        except OSError as error:
            in_use = f"port {port} of {host} is in use, by another program or by this one if it runs already"
            bound = OSError(error.errno, f"('{host}', {port})")
            said = failures.told(error if isinstance(error, socket.gaierror) else bound)
            assert said is not None
            if "in use" in said.sentence:
                self.notes.append(f"{what}: {in_use}")
            else:
                self.mistakes.append(f"{what}: {said.sentence}")

    def folder(self, what: str, path: Path) -> None:
        """Whether this user may write there, or make it."""
        place = path
        while not place.exists() and place != place.parent:
            place = place.parent
        if not place.is_dir():
            self.mistakes.append(f"{what}: {place} is no folder")
        elif not os.access(place, os.W_OK | os.X_OK):
            self.mistakes.append(f"{what}: {place}: this user may not write there: change its owner or mode")

    def database(self, what: str, path: Path, table: str) -> None:
        """Whether the file is a SQLite database with that table; one that is not there yet wants a folder."""
        if not path.exists():
            self.notes.append(f"{what}: {path} is not there yet")
            self.folder(what, path.parent)
            return
        if not os.access(path, os.W_OK):
            self.mistakes.append(f"{what}: {path}: this user may not write it: change its owner or mode")
            return
        try:
            with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=5)) as connection:
                found = connection.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (table,)).fetchone()
        except sqlite3.Error as error:
            said = failures.told(error)
            self.mistakes.append(f"{what}: {path}: {said.sentence if said else error}")
            return
        if found is None:
            self.mistakes.append(f"{what}: {path} is a database of something else: it has no table {table}")
