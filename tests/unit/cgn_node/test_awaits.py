"""Every wait of the node, and what is done behind it (decision 0019: check, await, act).

Behind a wait nothing that was true before it may be taken for true. The table names for each function that waits either
why nothing of the sort happens there, or the test that holds that what has changed meanwhile counts. A function that
begins to wait, or waits more often, is not in the table: whoever writes it looks at it here first.
"""

from pathlib import Path

import pytest
from waits import LIFE, READS, counts, holders, is_there, waits

import cgn_node

FOLDER = Path(cgn_node.__file__).parent

REVOKED = "tests/integration/test_node_revocations.py::test_what_was_known_of_a_miner_is_forgotten"
OVERTAKEN = "tests/unit/cgn_node/test_key_desk.py::test_an_answer_that_was_overtaken_by_a_revocation_is_asked_for_again"

TABLE: dict[str, tuple[int, str]] = {
    # --- an act behind a wait: guarded ---
    "work_endpoint WorkEndpoint._start_named": (
        1,
        "tests/integration/test_node_once.py::test_what_changed_during_the_look_up_counts",
    ),
    "work_endpoint WorkEndpoint._ask_session": (1, OVERTAKEN),
    "key_desk KeyDesk._put": (3, OVERTAKEN),
    "miner_endpoint MinerEndpoint.verify": (1, REVOKED),
    "miner_endpoint MinerTunnel._greet": (
        1,
        "tests/integration/test_node_once.py::test_a_revocation_overtakes_central_s_word_on_a_miner",
    ),
    "recorder Recorder.note_spooled": (
        1,
        "tests/integration/test_node_once.py::test_a_repeat_over_a_restart_is_known_from_the_spool",
    ),
    "recorder Recorder._tree": (
        1,
        "tests/unit/cgn_node/test_lookups.py::test_the_oldest_counts_and_longer_work_does_not",
    ),
    "central_endpoint CentralEndpoint._serve": (
        4,
        "tests/integration/test_node_central_and_miners.py"
        "::test_a_new_policy_is_in_force_at_once_and_an_old_one_changes_nothing",
    ),
    "central_endpoint CentralEndpoint.ask": (
        1,
        "tests/integration/test_node_central_and_miners.py::test_a_central_that_does_not_answer_is_a_gap_too",
    ),
    "gate Gate._open": (1, "tests/integration/test_node_gate.py::test_connections_count_from_accept_on"),
    # --- no act behind it that rests on what was there before ---
    "work_endpoint WorkEndpoint._serve_receipt": (1, READS),
    "work_endpoint WorkEndpoint._serve_state": (1, READS),
    "work_endpoint WorkEndpoint._guarded": (1, READS),
    "key_desk KeyDesk.ask": (1, READS),
    "key_desk KeyDesk._ask_central": (1, READS),
    "key_desk KeyDesk._turn": (1, READS),
    "lookups LookUps.ask": (1, READS),
    "lookups LookUps.wait": (1, READS),
    "lookups LookUps._within": (1, READS),
    "recorder Recorder.is_stored": (1, READS),
    "recorder Recorder.cost": (1, READS),
    "recorder Recorder.receipt": (2, READS),
    "recorder Recorder._find": (1, READS),
    "recorder Recorder._inclusion": (2, READS),
    "recorder Recorder._grow": (2, READS),
    "central_endpoint _Link.ask": (2, READS),
    "central_endpoint _Link.read": (4, READS),
    "central_endpoint CentralEndpoint._save_on": (2, READS),
    "central_endpoint CentralEndpoint._save_newest": (1, READS),
    "miner_endpoint MinerEndpoint._serve": (1, READS),
    "head_teller HeadTeller.run": (3, READS),
    "head_teller HeadTeller.tell": (1, READS),
    "websocket_server start.opened": (1, READS),
    "app Node.drain": (3, LIFE),
    "app Node.stop": (7, LIFE),
    "app run_node": (4, LIFE),
    "app start_node": (3, LIFE),
    "app _open_ledger": (2, LIFE),
    "app _open_spool": (1, LIFE),
    "app _restored": (1, LIFE),
    "app _ledger_findings.look": (2, READS),
    "app _listen": (6, LIFE),
    "central_endpoint CentralEndpoint.start": (1, LIFE),
    "central_endpoint CentralEndpoint.close": (3, LIFE),
    "gate Gate.start": (1, LIFE),
    "gate Gate.wait_closed": (1, LIFE),
    "http_server HttpListener.start": (1, LIFE),
    "http_server HttpListener.finish": (1, LIFE),
    "http_server HttpListener.close": (1, LIFE),
    "miner_endpoint MinerEndpoint.start": (1, LIFE),
    "miner_endpoint MinerEndpoint.close": (1, LIFE),
    "websocket_server start": (1, LIFE),
    "websocket_server start.listen": (1, LIFE),
}
"""Function -> how often it waits, and a test's name, or why none is needed."""

CALLBACKS = {
    "Spool.put: from RecordRow to RowStored": "tests/integration/test_node_faults.py::test_a_row_that_cannot_be_made",
    "a body of up to 64 KiB before the broker": (
        "tests/integration/test_node_slow_bodies.py::test_a_session_that_ends_meanwhile_lets_nothing_in"
    ),
    "an id while its body comes": (
        "tests/integration/test_node_slow_bodies.py::test_an_id_is_taken_while_its_body_comes"
    ),
    "a late tick's pause": (
        "tests/unit/cgn_node/test_driver.py::test_after_a_pause_of_the_process_miners_are_heard_first"
    ),
    "a piece read from disk": (
        "tests/integration/test_node_faults.py::test_a_disk_that_hangs_holds_up_its_own_answer_alone"
    ),
}
"""Waits without an `await`: between a step and the callback that goes on."""


def test_every_wait_is_listed() -> None:
    assert waits(FOLDER) == counts(TABLE)


@pytest.mark.parametrize("named", holders(TABLE, CALLBACKS.values()))
def test_what_holds_it_exists(named: str) -> None:
    assert is_there(FOLDER.parent, named)
