"""Every wait of Central, and what is done behind it (decision 0019: check, await, act).

Behind a wait a key may have been revoked, a record changed by another process, a link replaced. What is decided is
decided in one transaction of the store, behind the last wait. For each function that waits: why nothing there rests on
what was true before, or the test that holds it.
"""

from pathlib import Path

import pytest
from waits import LIFE, READS, counts, holders, is_there, waits

import central_service

FOLDER = Path(central_service.__file__).parent

COMMAND = "one command, one transaction, in which everything is looked up that it rests on"
PROOF = "tests/unit/central_service/test_planting.py::test_a_hash_that_comes_between_proof_and_decision_changes_nothing"
AGAIN = "tests/unit/central_service/test_links.py::test_what_could_not_be_read_is_read_again_and_told"
CAUGHT_UP = (
    "tests/unit/central_service/test_links.py::test_what_could_not_be_told_after_one_hello_is_told_after_the_next"
)
REDIAL = "tests/unit/central_service/test_links.py::test_a_node_registered_later_is_dialled_and_a_suspended_one_dropped"
BEFORE_HELLO = "tests/unit/central_service/test_links.py::test_nothing_is_answered_before_hello"

TABLE: dict[str, tuple[int, str]] = {
    # --- an act behind a wait: guarded ---
    "answers Answers.node_hello": (2, PROOF),
    "answers Answers.session_open": (2, PROOF),
    "answers Answers.miner_verify": (2, PROOF),
    "answers Answers.ecosystem_service": (2, PROOF),
    "credentials Credentials.prove": (
        3,
        "tests/integration/test_central_and_node.py::test_miners_that_come_back_at_once_cost_one_hash",
    ),
    "answers Answers.node_head": (
        1,
        "tests/integration/test_central_and_node.py::test_central_keeps_the_heads_that_a_node_signs",
    ),
    "links Link.run": (4, BEFORE_HELLO),
    "links Link._admit": (5, BEFORE_HELLO),
    "links Link._expect_hello": (
        3,
        "tests/unit/central_service/test_links.py::test_a_silent_node_is_dialled_again",
    ),
    "links Links._catch_up": (3, CAUGHT_UP),
    "links Links._link_once": (4, CAUGHT_UP),
    "links Links.notice_changes": (4, AGAIN),
    "links Links._told": (2, AGAIN),
    "links Links._dial_registered": (1, REDIAL),
    "links Links._tell_policy": (
        1,
        "tests/unit/central_service/test_links.py::test_a_changed_policy_is_told_with_a_higher_version",
    ),
    "links Link.tell": (
        2,
        "tests/unit/central_service/test_links.py::test_a_node_that_reads_nothing_stops_nobody_else",
    ),
    "planting hash_pending": (
        7,
        "tests/unit/central_service/test_planting.py::test_a_password_chosen_while_the_seed_s_is_hashed_stays",
    ),
    # --- no act behind it that rests on what was there before ---
    "answers Answers.prove": (2, READS + "; the callers look at the key again in their transaction"),
    "answers Answers.answer": (1, READS),
    "credentials Hashing.hash": (1, READS),
    "credentials Hashing.matches": (1, READS),
    "credentials Hashing._run": (1, READS),
    "credentials Credentials._matches_once": (1, READS),
    "credentials Credentials._hash": (1, READS + "; what it remembers is of one key and one stored hash"),
    "links Link._answer": (2, READS),
    "links Link._send": (1, READS),
    "links Links._keep_linked": (3, READS),
    "links Links._watch": (2, READS),
    "planting _hash_all": (1, READS),
    "ports _Trust.document": (2, "a lock holds the others off meanwhile"),
    "ports show_trust": (2, READS),
    "ports look_up_accounts": (3, READS),
    "ports _json_object": (2, READS),
    "store Store.read": (1, READS),
    "store Store.write": (1, READS),
    "store Store._run": (1, READS),
    "registering _new_key": (1, COMMAND),
    "registering _account": (1, COMMAND),
    "registering _miner": (1, COMMAND),
    "app _init": (4, COMMAND),
    "app _create_key": (2, COMMAND),
    "app _reset_password": (2, COMMAND),
    "app _hash_once": (1, COMMAND),
    "app _write": (3, COMMAND),
    "app _seed": (3, COMMAND),
    "app _audit": (3, COMMAND),
    "app _heads": (4, COMMAND),
    "app _trust": (3, COMMAND),
    "app _change.command": (1, COMMAND),
    "app _machine": (1, COMMAND),
    "app _registering.command": (2, COMMAND),
    "planting plant": (2, COMMAND),
    "planting plant_at_once": (1, COMMAND),
    "planting _store": (1, COMMAND),
    "app serve": (15, LIFE),
    "links Link.close": (1, LIFE),
    "links Links.start": (2, LIFE),
    "links Links.close": (2, LIFE),
    "ports open_machine_port": (1, LIFE),
    "ports open_portal_port": (1, LIFE),
    "ports _listen": (1, LIFE),
    "store Store.open": (1, LIFE),
    "store Store.close": (1, LIFE),
}


def test_every_wait_is_listed() -> None:
    assert waits(FOLDER) == counts(TABLE)


@pytest.mark.parametrize("named", holders(TABLE))
def test_what_holds_it_exists(named: str) -> None:
    assert is_there(FOLDER.parent, named)
