from collections.abc import Iterator

import pytest
from broker_bench import Bench


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    yield bench
    bench.broker.check()
