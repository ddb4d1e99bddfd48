"""Estimates inside a worker (G-8): the same script in the same sandbox over a host that weighs instead of working."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cgn_sdk.dservice.problems import Problem

from dservices.mediagen.estimator import cost_model
from dservices.mediagen.language.mrl import Mrl
from dservices.mediagen.language.scripts import Script
from dservices.mediagen.operations.fonts import Fonts
from dservices.mediagen.worker.host import Host


class Estimates:
    """See `worker.worker.Estimates`."""

    def host(self, mrl: Mrl, headers: Mapping[str, str], fetch: Any, fonts: Fonts, **options: Any) -> Host:
        return cost_model.SketchHost(mrl, headers, fetch, fonts, **options)

    def conclude(self, host: Any, script: Script, failure: Problem | None) -> bytes:
        if failure is not None and failure.code not in cost_model.PARTIAL:
            raise failure
        return cost_model.answer_of(host, len(script.code), failure.code if failure is not None else None)

    def refresh(self) -> None:
        cost_model.speed().refresh()
