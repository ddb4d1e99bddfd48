"""Assembled scripts that are kept give what assembling gives (G-9)."""

import pytest
from cgn_sdk.dservice.problems import Problem

from dservices.mediagen import limits
from dservices.mediagen.language.scripts import Scripts, assemble

MAIN = "http://origin.example/main.ms"
A, B = "http://origin.example/a.ms", "http://origin.example/b.ms"


class Shelf:
    def __init__(self, **files: str) -> None:
        self.files = {f"http://origin.example/{name}.ms": text for name, text in files.items()}
        self.read_names: list[str] = []

    def read(self, address: str) -> bytes:
        self.read_names.append(address)
        if address not in self.files:
            raise Problem(404, "script_missing", address)
        return self.files[address].encode()


def test_a_script_that_has_not_changed_is_not_rewritten():
    shelf = Shelf(main='#include "a.ms"\nfunction main() { f(x @ 1); }', a="var a = 1;")
    kept = Scripts()
    first = kept.get(MAIN, shelf.read)
    assert kept.get(MAIN, shelf.read) is first
    assert shelf.read_names == [MAIN, A] * 2  # read every time: the origin may have changed it


@pytest.mark.parametrize("changed", [MAIN, A, B])
def test_a_change_anywhere_is_noticed(changed):
    shelf = Shelf(main='#include "a.ms"\nvar m = 1;', a='#include "b.ms"\nvar a = 1;', b="var b = 1;")
    kept = Scripts()
    kept.get(MAIN, shelf.read)
    shelf.files[changed] += "\nvar more = 2;"
    again = kept.get(MAIN, shelf.read)
    assert "more" in again.code
    assert again == assemble(MAIN, shelf.read)


def test_an_include_that_is_gone_is_missed_or_not_asked_for():
    shelf = Shelf(main='#include "a.ms"\nvar m = 1;', a="var a = 1;")
    kept = Scripts()
    kept.get(MAIN, shelf.read)
    text = shelf.files.pop(A)
    with pytest.raises(Problem, match="a.ms"):
        kept.get(MAIN, shelf.read)
    shelf.files[MAIN] = "var m = 2;"
    assert kept.get(MAIN, shelf.read).code == "var m = 2;"
    shelf.files[A] = text


def test_a_script_that_cannot_be_read_is_refused_every_time():
    shelf = Shelf(main="f(x @ @ 1)")
    kept = Scripts()
    for _ in range(2):
        with pytest.raises(Problem, match="line 1"):
            kept.get(MAIN, shelf.read)


def test_what_is_kept_has_a_bound(monkeypatch):
    monkeypatch.setattr(limits, "SCRIPTS_KEPT_MAX", 3)
    monkeypatch.setattr(limits, "SCRIPTS_KEPT_MAX_CHARS", 1000)
    shelf = Shelf(a="a" * 100, b="b" * 100, c="c" * 100, d="d" * 100, e="e" * 2000)
    kept = Scripts()
    for name in shelf.files:
        kept.get(name, shelf.read)
        assert len(kept._kept) <= 3
        assert kept._held_chars == sum(len(script.code) for _, script in kept._kept.values()) <= 1000
