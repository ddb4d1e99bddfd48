"""Every wait of the miner, and what is done behind it (decision 0019: check, await, act).

Behind a wait the tunnel may have gone, the DService may have been restarted, and the attempt cancelled. For each
function that waits: why nothing there rests on what was true before, or the test that holds it.
"""

from pathlib import Path

import pytest
from waits import LIFE, READS, counts, holders, is_there, waits

import miner_client

FOLDER = Path(miner_client.__file__).parent

ENDS = "tests/integration/test_miner_bad_ends.py::test_nothing_leaks_between_bad_ends"
CANCELLED = "tests/unit/miner_client/test_hop.py::test_cancelling_closes_the_connection"
RESTARTED = "tests/integration/test_miner_answers.py::test_one_that_ends_is_not_one_that_breaks_off"
DRAIN = "tests/integration/test_miner.py::test_sigterm_drains"
ONE_USER = "its connection is its own from the beginning to the end; closed means that the next step ends"

TABLE: dict[str, tuple[int, str]] = {
    # --- an act behind a wait: guarded ---
    "work Work._attempt": (
        1,
        "tests/integration/test_miner_answers.py"
        "::test_a_request_cancelled_in_the_message_that_opened_it_leaves_nothing",
    ),
    "work Work._carry": (3, ENDS),
    "work Work._answer": (3, RESTARTED),
    "work Work._judge": (1, RESTARTED),
    "work Work._estimate": (
        4,
        "tests/integration/test_miner_answers.py::test_an_estimator_that_a_former_process_had_not_may_be_there_now",
    ),
    "work Work._request": (3, RESTARTED),
    "work Work._pass_on": (3, ENDS),
    "work Work.close": (1, ENDS),
    "dservice DService.survived": (1, RESTARTED),
    "dservice DService._watch": (2, RESTARTED),
    "dservice DService._keep_running": (
        4,
        "tests/integration/test_miner.py::test_a_killed_miner_leaves_no_dservice",
    ),
    "dservice DService._end": (2, RESTARTED),
    "dservice DService._stop": (1, RESTARTED),
    "client Client.run": (
        2,
        "tests/integration/test_miner_bad_ends.py::test_a_miner_that_was_taken_before_stays",
    ),
    "client Client._one_tunnel": (
        3,
        "tests/integration/test_miner.py::test_it_dials_again_when_the_node_was_away",
    ),
    "client Client._finish": (2, DRAIN),
    "client Client.drain": (2, DRAIN),
    "client Client._leave": (
        1,
        "tests/integration/test_miner.py::test_a_dservice_that_does_not_start_keeps_no_other_away",
    ),
    "hop Hop.request": (
        3,
        "tests/unit/miner_client/test_hop.py::test_many_small_calls_use_one_connection",
    ),
    "hop _Connection.send": (1, CANCELLED),
    "hop _Connection.next_chunk": (1, CANCELLED),
    "egress Egress._one": (
        6,
        "tests/unit/miner_client/test_bounds.py::test_connections_at_once",
    ),
    "egress Egress._connect": (
        3,
        "tests/unit/miner_client/test_egress.py::test_the_address_checked_is_the_address_connected_to",
    ),
    # --- no act behind it that rests on what was there before ---
    "client Client._sweep": (1, READS),
    "check ask_node": (1, READS),
    "check _Asked.greet": (2, READS),
    "dservice DService.wait_offerable": (1, READS),
    "dservice DService.wait_ready": (2, READS + "; who is told so looks again (`_request`)"),
    "egress resolve": (1, READS),
    "egress Egress._serve": (1, READS),
    "egress Egress._refuse": (1, READS),
    "egress _relay.pump": (2, READS),
    "egress _relay.watch": (2, READS),
    "egress _relay": (2, READS),
    "hop HopResponse.chunks": (1, READS),
    "hop HopResponse.whole": (1, READS),
    "hop _Connection._send_body": (2, ONE_USER),
    "hop _Connection._wait": (3, ONE_USER),
    "hop Hop._connect": (1, ONE_USER),
    "runner wait_healthy": (5, READS),
    "docker_runner DockerRunner.wait_ended": (1, READS),
    "process_runner ProcessRunner.wait_ended": (1, READS),
    "process_runner ProcessRunner._watch_memory": (1, READS),
    "app _run": (3, LIFE),
    "app _work_until_refused": (2, LIFE),
    "app _work_when_ready": (3, LIFE),
    "dservice DService.run": (3, LIFE),
    "docker_runner DockerRunner.start": (5, LIFE),
    "docker_runner DockerRunner.stop": (3, LIFE),
    "process_runner ProcessRunner.start": (4, LIFE),
    "process_runner ProcessRunner.stop": (2, LIFE),
    "egress Egress.start": (1, LIFE),
    "egress Egress.stop": (1, LIFE),
    "hop Hop.close": (1, LIFE),
}


def test_every_wait_is_listed() -> None:
    assert waits(FOLDER) == counts(TABLE)


@pytest.mark.parametrize("named", holders(TABLE))
def test_what_holds_it_exists(named: str) -> None:
    assert is_there(FOLDER.parent, named)
