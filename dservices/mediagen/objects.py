"""The smaller objects of MediaScript (reference 4): profiles, files, archives, XML, metadata documents."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cgn_sdk.dservice.problems import Problem

if TYPE_CHECKING:
    from dservices.mediagen.host import Host


def dispatch(host: Host, name: str, handle: Any, packed: Any) -> Any:
    raise Problem(422, "unknown_method", f"{name} is not available")
