"""The machine's speed (G-8, N-22): what turns reference time into CPU time here."""

from dservices.mediagen.estimator.machine_speed import AGE_S, FIRST, KEPT, Speed, work_ns


class Machine:
    def __init__(self, *times: int) -> None:
        self.times, self.taken, self.now = list(times), 0, 0.0

    def measure(self) -> int:
        self.taken += 1
        return self.times[min(self.taken, len(self.times)) - 1]

    def clock(self) -> float:
        return self.now


def test_the_factor_is_the_median_over_that_of_the_calibration() -> None:
    machine = Machine(30, 10, 12)
    speed = Speed(machine.measure, machine.clock)
    assert machine.taken == 0  # a worker that nobody asks never measures
    assert speed.factor(6) == 2.0
    assert speed.factor(6) == 2.0 and machine.taken == FIRST


def test_it_is_measured_again_when_old_and_only_once_somebody_has_asked() -> None:
    machine = Machine(*[10] * FIRST, *[40] * 50)
    speed = Speed(machine.measure, machine.clock)
    speed.refresh()
    assert machine.taken == 0
    speed.factor(10)
    speed.refresh()
    assert machine.taken == FIRST
    for n in range(1, KEPT + 1):
        machine.now = n * AGE_S
        speed.refresh()
        speed.refresh()
        assert machine.taken == FIRST + n
    assert speed.factor(10) == 4.0  # what was is forgotten


def test_a_neighbour_that_spoils_one_measurement_changes_nothing() -> None:
    machine = Machine(10, 10, 10, 90)
    speed = Speed(machine.measure, machine.clock)
    speed.factor(10)
    machine.now = AGE_S
    speed.refresh()
    assert speed.factor(10) == 1.0


def test_a_factor_no_machine_has_is_bounded() -> None:
    assert Speed(lambda: 10**12, lambda: 0.0).factor(1) == 10.0
    assert Speed(lambda: 1, lambda: 0.0).factor(10**12) == 0.1


def test_the_fixed_work_takes_a_few_milliseconds_of_cpu() -> None:
    assert 100_000 < work_ns() < 1_000_000_000
