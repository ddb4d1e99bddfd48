"""Routes of the policy and its copy on disk (Bad input: unknown DService; C-1: work through a gap)."""

import json
from pathlib import Path

import node_world as support
import pytest
import syncs
from cgn_sdk.protocol import link

from cgn_node.policy import PolicyView, load_copy, save_copy


def view(*routes: str) -> PolicyView:
    developer = link.Party(support.public_id("d"), support.address("4"))
    found = tuple(link.DServicePolicy(route.strip("/"), "1", route, developer, 1, 1) for route in routes)
    return PolicyView.of(link.Policy(1, "n", found, link.Prices(1, 1, 1, 1), {"2": 1}, 1))


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("/a", "/a"),
        ("/a/", "/a"),
        ("/a/x/y", "/a"),
        ("/a/b", "/a/b"),
        ("/a/b/c", "/a/b"),
        ("/a/bc", "/a"),
        ("/ab", None),
        ("/", None),
        ("", None),
        ("//a", None),
        ("*", None),
        ("/A", None),
        ("/%61", None),
    ],
)
def test_the_longest_route_on_whole_segments_wins(path: str, found: str | None) -> None:
    dservice = view("/a", "/a/b").find(path)
    assert (dservice.route if dservice else None) == found


def test_without_dservices_nothing_is_found() -> None:
    assert view().find("/a") is None


def test_the_copy_reads_back_and_a_broken_one_is_no_copy(tmp_path: Path) -> None:
    welcome = link.NodeWelcome(
        support.public_id("n"), link.Party(support.public_id("f"), support.address("3")), support.policy()
    )
    path = tmp_path / "policy.json"
    assert load_copy(path) is None
    save_copy(path, welcome)
    assert load_copy(path) == welcome
    path.write_text(path.read_text()[:-40])
    assert load_copy(path) is None
    path.write_text("[]")
    assert load_copy(path) is None


def test_a_copy_is_on_disk_as_a_whole_before_it_takes_the_place_of_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    welcome = link.NodeWelcome(
        support.public_id("n"), link.Party(support.public_id("f"), support.address("3")), support.policy()
    )
    done = syncs.watch(monkeypatch)
    save_copy(tmp_path / "policy.json", welcome)
    assert [(one.what, json.loads(one.content)) for one in done] == [
        ("sync", welcome.to_params()),
        ("name", welcome.to_params()),
    ]
