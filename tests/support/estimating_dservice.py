"""A DService whose estimator says what the target asks for: `/noop/<ns>` is estimated at that much CPU time, sure to a
fifth; `/noop/none` is not estimated. It answers with how often it was asked to work and to estimate."""

from cgn_sdk.dservice.estimates import Estimate, Work
from cgn_sdk.dservice.framework import Request, Response, run
from cgn_sdk.dservice.problems import Problem

asked = {"work": 0, "estimate": 0}


async def handle(request: Request) -> Response:
    asked["work"] += 1
    return Response(body=f"{asked['work']} {asked['estimate']}".encode())


async def estimate(work: Work) -> Estimate:
    asked["estimate"] += 1
    told = work.target.rsplit("/", 1)[1]
    if not told.isdigit():
        raise Problem(422, "cannot_say", "give a number")
    return Estimate(int(told), within_ppm=200_000)


if __name__ == "__main__":
    raise SystemExit(run(handle, estimator=estimate))
