"""Sessions that outlive the process (N-5)."""

import errno
import json
import os
from pathlib import Path
from typing import Any

import pytest
from cgn_sdk.protocol.link import SessionGrant
from hypothesis import given, settings
from hypothesis import strategies as st

from cgn_node import limits
from cgn_node.session_file import SessionFile
from cgn_node.sessions import Sessions

TTL_S = 100


def grant(letter: str = "a") -> SessionGrant:
    return SessionGrant("ent_" + letter * 20, "p" + letter * 26, "0x" + "1" * 40, "", ("2", "3"), 1_000, 8)


class Life:
    """A node's sessions over a folder, begun at a time on the wall clock."""

    def __init__(self, folder: Path, now_s: float = 1_000_000.0) -> None:
        self.now_s = now_s
        self.file = SessionFile(folder, TTL_S, wall_s=lambda: self.now_s)
        self.sessions = Sessions(TTL_S, self.file)
        for one in self.file.load():
            expires_ms = int((one.expires_s - self.now_s) * 1000)
            self.sessions.restore(one.grant, expires_ms=expires_ms, digest=one.digest, pair=one.pair)

    def open(self, letter: str = "a") -> str:
        return self.sessions.open(0, grant(letter), pair=letter.encode())

    def again(self, after_s: float = 1.0) -> "Life":
        return Life(self.file._folder, self.now_s + after_s)


def test_a_session_goes_on_in_the_next_life_and_ends_when_it_would_have(tmp_path: Path) -> None:
    first = Life(tmp_path)
    key = first.open()
    second = first.again(40)
    found = second.sessions.find(key, 0)
    assert found is not None
    assert (found.grant, found.pair) == (grant(), b"a")
    assert second.sessions.find(key, 59_999) is not None
    assert second.sessions.find(key, 60_000) is None
    assert first.again(100).sessions.find(key, 0) is None


def test_no_key_is_in_the_file_and_nobody_else_may_read_it(tmp_path: Path) -> None:
    life = Life(tmp_path / "sessions")
    key = life.open()
    [path] = (tmp_path / "sessions").iterdir()
    assert key.encode() not in path.read_bytes()
    assert path.stat().st_mode & 0o077 == 0


def test_what_was_revoked_stays_revoked_and_what_was_opened_afterwards_lives(tmp_path: Path) -> None:
    life = Life(tmp_path)
    gone, other = life.open(), life.open("b")
    life.sessions.revoke({grant().account_id})
    later = life.open()
    sessions = life.again().sessions
    assert sessions.find(gone, 0) is None
    assert sessions.find(other, 0) is not None
    assert sessions.find(later, 0) is not None
    assert sessions.revoke({grant("b").account_id}) == 1


def test_a_torn_end_and_strange_lines_cost_themselves_alone(tmp_path: Path) -> None:
    life = Life(tmp_path)
    key = life.open()
    [path] = tmp_path.iterdir()
    with path.open("ab") as file:
        file.write(b'\xff{"revoked":3}\n[]\n{"grant":{}}\n' + b"x" * 100_000 + b"\n{" + b'"digest":"ab')
    second = life.again()
    assert second.sessions.find(key, 0) is not None
    assert second.file.unread >= 4
    after = second.open()
    assert second.again().sessions.find(after, 0) is not None


def test_files_of_expired_sessions_go_and_no_more_than_three_stay(tmp_path: Path) -> None:
    life = Life(tmp_path)
    for _ in range(40):
        life.open()
        life.now_s += 30
        assert len(list(tmp_path.iterdir())) <= 3
    key = life.open()
    assert life.again().sessions.find(key, 0) is not None


def test_a_full_disk_opens_sessions_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    life = Life(tmp_path)
    real = os.write

    def half(descriptor: int, data: bytes) -> int:
        monkeypatch.setattr(os, "write", refuse)
        return real(descriptor, data[:50])

    def refuse(descriptor: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "full")

    life.open()
    monkeypatch.setattr(os, "write", half)
    torn = life.open()
    refused = life.open("b")
    assert life.sessions.find(refused, 0) is not None
    assert life.file.failures == 1
    monkeypatch.setattr(os, "write", real)
    whole = life.open("c")
    sessions = life.again().sessions
    assert sessions.find(whole, 0) is not None
    assert sessions.find(torn, 0) is None


def test_one_file_is_bounded_and_revocations_go_in_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "SESSION_FILE_BYTES", 1_000)
    life = Life(tmp_path)
    keys = [life.open() for _ in range(50)]
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 1_000
    assert life.file.failures > 40
    assert life.again().sessions.find(keys[0], 0) is not None
    size = sum(path.stat().st_size for path in tmp_path.iterdir())
    monkeypatch.setattr(limits, "SESSION_FILE_BYTES", size)
    life.sessions.revoke({grant().account_id})
    assert len(life.again().sessions) == 0


@pytest.mark.parametrize("above", [0, 1])
def test_a_line_may_fill_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, above: int) -> None:
    first = Life(tmp_path / "first")
    first.open()
    [path] = (tmp_path / "first").iterdir()
    monkeypatch.setattr(limits, "SESSION_FILE_BYTES", path.stat().st_size - above)
    life = Life(tmp_path / "second")
    key = life.open()
    assert (life.again().sessions.find(key, 0) is None) is bool(above)
    assert life.file.failures == above


def test_a_file_stays_as_long_as_a_session_in_it_may_live(tmp_path: Path) -> None:
    """The last that was opened in it ends just before twice its life."""
    life = Life(tmp_path)
    life.open("b")
    life.now_s += TTL_S - 1
    key = life.open()
    life.now_s += TTL_S - 1
    life.open("b")
    assert len(list(tmp_path.iterdir())) == 2
    assert life.again(0).sessions.find(key, 0) is not None
    assert life.again(1).sessions.find(key, 0) is None


def test_a_clock_that_was_set_back_makes_no_session_live_longer(tmp_path: Path) -> None:
    life = Life(tmp_path)
    key = life.open()
    assert life.again(-1_000_000).sessions.find(key, 0) is None


@settings(max_examples=50, deadline=None)
@given(steps=st.lists(st.sampled_from(["open a", "open b", "revoke a", "revoke b", "restart", "wait"]), max_size=30))
def test_a_node_that_restarts_knows_what_one_that_did_not_knows(steps: list[str], tmp_path_factory: Any) -> None:
    life = Life(tmp_path_factory.mktemp("s"))
    opened: dict[str, tuple[str, float]] = {}  # key -> (letter, expires)
    for step in steps:
        what, _, letter = step.partition(" ")
        match what:
            case "open":
                opened[life.open(letter)] = (letter, life.now_s + TTL_S)
            case "revoke":
                life.sessions.revoke({grant(letter).account_id})
                opened = {key: said for key, said in opened.items() if said[0] != letter}
            case "restart":
                life = life.again()
            case _:
                life.now_s += 37
    after = life.again()
    living = {key for key, (_, expires_s) in opened.items() if expires_s > after.now_s}
    assert len(after.sessions) == len(living)
    assert all(after.sessions.find(key, 0) is not None for key in living)


def test_the_form_of_a_line(tmp_path: Path) -> None:
    Life(tmp_path).open()
    [path] = tmp_path.iterdir()
    said = json.loads(path.read_text())
    assert set(said) == {"digest", "pair", "expires_s", "grant"}


@pytest.mark.parametrize(
    "line",
    [b"[" * 4_000, b'{"a":' * 700, b'{"revoked":[[]]}', b'{"expires_s":1' + b"0" * 400 + b"}", b"\x00", b'"\\ud800"'],
)
def test_no_line_keeps_a_node_from_starting(tmp_path: Path, line: bytes) -> None:
    life = Life(tmp_path)
    key = life.open()
    [path] = tmp_path.iterdir()
    with path.open("ab") as file:
        file.write(line + b"\n")
    whole = json.loads(path.read_bytes().splitlines()[0])
    with path.open("ab") as file:
        file.write(json.dumps(whole | {"expires_s": 10**400}).encode() + b"\n")
    second = life.again()
    assert second.sessions.find(key, 0) is not None
    assert second.file.unread >= 1


def test_every_revocation_is_written_for_sessions_that_only_the_disk_knows(tmp_path: Path) -> None:
    """C-10: of accounts without a session here, and of many at once."""
    life = Life(tmp_path)
    key = life.open()
    other = SessionFile(tmp_path, TTL_S, wall_s=lambda: life.now_s)
    others = {f"ent_{number:020d}" for number in range(500)}
    assert Sessions(TTL_S, other).revoke({grant().account_id} | others) == 0
    assert life.again().sessions.find(key, 0) is None
    assert life.again().file.unread == 0


def test_a_clock_that_was_set_back_revives_nobody(tmp_path: Path) -> None:
    """Files are read in the order in which they were begun, and an earlier node's before them."""
    life = Life(tmp_path)
    keys = [life.open()]
    [path] = tmp_path.iterdir()
    path.rename(tmp_path / f"sessions-{int(life.now_s):012d}.jsonl")
    for step_s in (0, -50, -10, 3 * TTL_S, -3 * TTL_S):
        life = life.again(step_s)
        keys.append(life.open())
        life.now_s -= 20
        life.file.close()
        life.file._descriptor = -1
        life.sessions.revoke({grant().account_id})
        for back_s in (1, 20, 75):
            sessions = life.again(back_s).sessions
            assert not any(sessions.find(key, 0) for key in keys)


def test_revocations_do_not_fill_the_disk_and_none_is_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond a file's bound one line revokes all that stand before it, and no more are written; what fits behind it
    lives until it is revoked itself."""
    monkeypatch.setattr(limits, "SESSION_FILE_BYTES", 6_000)
    life = Life(tmp_path)
    key = life.open()
    for number in range(1_000):
        life.sessions.revoke({f"ent_{number:020d}_{each:05d}" for each in range(70)})
    [path] = tmp_path.iterdir()
    assert path.stat().st_size < 7_000
    assert life.sessions.find(key, 0) is not None
    assert life.again().sessions.find(key, 0) is None
    monkeypatch.setattr(limits, "SESSION_FILE_BYTES", path.stat().st_size + 500)
    later = life.open("b")
    assert life.again().sessions.find(later, 0) is not None
    life.sessions.revoke({grant("b").account_id, *(f"ent_{each:020d}" for each in range(64))})
    assert life.again().sessions.find(later, 0) is None
