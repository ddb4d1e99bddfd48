"""The Ethereum libraries, imported late (0.5 to 1.4 s) and without their side effect.

One of their dependencies raises the process's recursion limit to 100,000 when it is imported. With that, deeply nested
JSON from outside ends the process by a segmentation fault instead of a RecursionError. So they are imported here only,
and the limit is put back.
"""

import sys
from types import ModuleType


def eth_account() -> ModuleType:
    return _imported("eth_account")


def web3() -> ModuleType:
    return _imported("web3")


def _imported(name: str) -> ModuleType:
    import importlib

    limit = sys.getrecursionlimit()
    try:
        return importlib.import_module(name)
    finally:
        sys.setrecursionlimit(limit)
