"""One sentence and an exit code for what is no error of the program (O-5)."""

import asyncio
import sqlite3
import ssl
from pathlib import Path

import pytest

from cgn_chassis import failures
from cgn_chassis.failures import AGAIN, CHANGE_FIRST, Refusal, about, told


def raised(work) -> BaseException:  # type: ignore[no-untyped-def]
    with pytest.raises(Exception) as caught:
        work()
    return caught.value


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    said = told(raised(lambda: (tmp_path / "key.pem").read_bytes()))
    assert said == (f"{tmp_path}/key.pem: there is no such file or folder", CHANGE_FIRST)


async def test_a_busy_port_is_named_under_both_loops(free_port) -> None:  # type: ignore[no-untyped-def]
    """asyncio and uvloop word it differently."""
    import uvloop

    port = free_port()

    async def twice() -> None:
        first = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", port)
        async with first:
            await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", port)

    def under_uvloop() -> None:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(twice())

    sentence = f"port {port} of 127.0.0.1 is in use by another program: end that one, or choose another port"
    with pytest.raises(OSError) as caught:
        await twice()
    assert told(caught.value) == (sentence, AGAIN)
    assert told(await asyncio.to_thread(raised, under_uvloop)) == (sentence, AGAIN)


def test_a_port_below_1024_says_which_privilege() -> None:
    error = PermissionError(13, "error while attempting to bind on address ('0.0.0.0', 443): permission denied")
    said = told(error)
    assert said is not None
    assert said.code == CHANGE_FIRST
    assert said.sentence.startswith("port 443 of 0.0.0.0 is below 1024 and wants a privilege: AmbientCapabilities=")


def test_databases(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no database at all, but long enough to be looked at\n" * 100)

    def foreign() -> None:
        with sqlite3.connect(tmp_path / "text") as connection:
            connection.execute("SELECT * FROM sqlite_master")

    said = told(raised(foreign))
    assert said is not None
    assert "is no SQLite database, or is damaged" in said.sentence
    said = told(raised(lambda: sqlite3.connect(tmp_path / "none/x.sqlite")))
    assert said is not None
    assert "does its folder exist" in said.sentence


def test_certificates(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no certificate")
    said = told(raised(lambda: ssl.create_default_context().load_cert_chain(tmp_path / "text")))
    assert said is not None
    assert "PEM" in said.sentence


def test_what_it_is_about_stands_first(tmp_path: Path) -> None:
    with pytest.raises(Refusal, match=r"tls\.key: .*key\.pem: there is no such file") as caught, about("tls.key"):
        (tmp_path / "key.pem").read_bytes()
    assert told(caught.value) == (str(caught.value), CHANGE_FIRST)
    with pytest.raises(Refusal, match="ledger: no URL"), about("ledger"):
        raise ValueError("no URL")


def test_an_error_of_ours_is_not_told() -> None:
    assert told(KeyError("x")) is None
    assert told(RuntimeError("x")) is None


def test_a_rooms_own_sentence() -> None:
    class StoreError(Exception):
        pass

    assert told(StoreError("the ledger is away"), (StoreError,)) == ("the ledger is away", CHANGE_FIRST)


def test_every_number_of_the_system_has_a_sentence() -> None:
    for number in (2, 13, 17, 20, 21, 28, 30, 36, 111, 113):
        said = failures.told(OSError(number, "x", "file"))
        assert said is not None
        assert said.sentence.startswith("file: ")
        assert said.sentence.removeprefix("file: ") != "x"
