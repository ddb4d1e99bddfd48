"""A worker's process, put together: the runner, and the estimator that stands in for the work where only its price is
asked. `front.pool` starts it by this module's name."""

from __future__ import annotations

from dservices.mediagen.estimator.estimates import Estimates
from dservices.mediagen.worker.worker import main

if __name__ == "__main__":
    raise SystemExit(main(Estimates()))
