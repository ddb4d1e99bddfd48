"""Refusals of a DService: one exception, one JSON body (RFC 9457, `application/problem+json`).

A DService is anyone's program, so its codes are its own; the node's closed list is in `cgn_sdk.protocol.errors`.
"""

from __future__ import annotations

import json
from typing import Any

CONTENT_TYPE = "application/problem+json"


class Problem(Exception):
    """The request cannot be served and this is why. `detail` says what to change; `facts` are extra members."""

    def __init__(self, status: int, code: str, detail: str, **facts: Any) -> None:
        super().__init__(f"{status} {code}: {detail}")
        self.status, self.code, self.detail = status, code, detail
        self.facts = {name: value for name, value in facts.items() if value is not None}

    def document(self) -> dict[str, Any]:
        return {
            "type": f"urn:cgn:dservice:{self.code}",
            "title": self.code,
            "status": self.status,
            "detail": self.detail,
            **self.facts,
        }

    def body(self) -> bytes:
        return json.dumps(self.document(), ensure_ascii=False).encode("utf-8", "backslashreplace")
