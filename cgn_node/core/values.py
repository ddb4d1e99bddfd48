"""Values that are made several times per request: events, commands, what was used.

`dataclass(frozen=True, slots=True)` as in the standard library, with one difference: that nobody assigns to a field is
held by the type check alone. The run-time guard sets each field by a call, and makes a value of ten fields three times
as dear (a request makes eight values of some forty fields).
"""

import dataclasses
from typing import TYPE_CHECKING, Any

__all__ = ["dataclass"]

if TYPE_CHECKING:
    from dataclasses import dataclass
else:

    def dataclass(*, frozen: bool, slots: bool) -> Any:
        assert frozen
        return dataclasses.dataclass(slots=slots, unsafe_hash=True)
