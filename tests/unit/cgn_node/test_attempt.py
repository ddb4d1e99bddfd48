"""What a miner says about an attempt that does not count any more changes nothing (N-11, N-20)."""

from types import SimpleNamespace
from typing import Any

import pytest
from cgn_sdk.protocol.limits import DEADLINE_MAX_MS

from cgn_node.attempt import Attempt


class Driver:
    """Notes what the broker is told."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    def post(self, event: Any) -> None:
        self.told.append(event)


def made(driver: Driver) -> Any:
    request = SimpleNamespace(order=SimpleNamespace(id="r"), attempt=None)
    tunnel = SimpleNamespace(miner_id="m")
    attempt: Any = Attempt(request, 1, tunnel, driver, None, 1)  # type: ignore[arg-type]
    attempt.done_message = SimpleNamespace(
        statement=SimpleNamespace(
            cpu_ns=1, memory_byte_seconds=1, wall_ns=1, gpu_ns=0, request_bytes=0, response_bytes=0
        ),
        metadata={},
    )
    return attempt


@pytest.mark.parametrize("why", ["another attempt has followed", "no statement came before"])
def test_a_seal_of_an_attempt_that_does_not_count_changes_nothing(why: str) -> None:
    driver = Driver()
    attempt = made(driver)
    if why == "no statement came before":
        attempt.request.attempt, attempt.done_message = attempt, None
    attempt.sealed("seal")
    assert driver.told == []
    assert attempt.seal != "seal"


def test_no_time_beyond_the_longest_deadline_is_billed() -> None:
    """N-21: a process that was stopped for days measured them."""
    attempt = made(Driver())
    attempt.ended_ns = attempt.begun_ns + 3 * DEADLINE_MAX_MS * 10**6
    assert attempt.measured.wall_ns == attempt.used(0)[1].wall_ns == DEADLINE_MAX_MS * 10**6
    attempt.ended_ns = attempt.begun_ns + 5
    assert attempt.measured.wall_ns == 5
