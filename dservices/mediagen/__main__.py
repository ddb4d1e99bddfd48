"""`python -m dservices.mediagen`: the service on `CGN_SOCKET`, or on `CGN_PORT` for a trial."""

from __future__ import annotations

import logging
import os
import sys
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from cgn_sdk.dservice.estimates import Estimate, Work
from cgn_sdk.dservice.framework import Request, Response, run
from cgn_sdk.dservice.verdicts import Claim, Verdict

from dservices.mediagen.front import estimates
from dservices.mediagen.front.service import MediaGen
from dservices.mediagen.front.settings import SettingRefused, Settings
from dservices.mediagen.verifier import verifier

BINDING = "_libvips.abi3.so"


def other_libvips(wheel: str = "pyvips-binary") -> str:
    """Why libvips here is not the wheel's, or empty. Where the system has libvips' headers, pyvips builds a binding to
    that older library, under the name of the wheel's own file: whichever was installed last lies there."""
    try:
        files = distribution(wheel).files or []
    except PackageNotFoundError:
        return f"{wheel} is not installed: it brings libvips"
    binding = next((file for file in files if file.name == BINDING), None)
    if binding is None or binding.size is None or Path(str(binding.locate())).stat().st_size == binding.size:
        return ""
    return (
        "MediaGen would run on this system's own libvips, which is another version: "
        f"pip install --force-reinstall --no-deps {wheel} puts the right one back"
    )


def main() -> int:
    if problem := other_libvips():
        print(problem, file=sys.stderr)
        return 2
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(levelname)s %(name)s %(message)s")
    try:
        settings = Settings.read(os.environ)
    except SettingRefused as refusal:
        print(refusal, file=sys.stderr)
        return 2
    # Built when the loop runs: the fetcher and the pool belong to it.
    service: list[MediaGen] = []

    async def start() -> None:
        service.append(MediaGen(settings))
        await service[0].start()

    async def stop() -> None:
        await service[0].stop()

    async def handle(request: Request) -> Response:
        return await service[0].handle(request)

    async def estimate(work: Work) -> Estimate:
        return await estimates.estimate(service[0], work)

    async def verify(claim: Claim) -> Verdict:
        return await verifier.verify(service[0], claim)

    return run(handle, on_start=start, on_stop=stop, estimator=estimate, verifier=verify)


if __name__ == "__main__":
    raise SystemExit(main())
