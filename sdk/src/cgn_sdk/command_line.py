"""One parser for every command: long options are written out, a misspelt word is told with what was meant, and the
examples of a module's docstring are shown as they stand.

argparse takes `--miner` for `--miners` as long as no other option begins so: a later option would change what old
scripts mean. Sub-commands made of this parser are of its kind.
"""

from __future__ import annotations

import argparse
import difflib
import re
from typing import Any, NoReturn

_CHOICE = re.compile(r"invalid choice: '?([^' ]*)'? \(choose from (.*)\)")
_UNKNOWN = re.compile(r"unrecognized arguments: (--[^ =]+)")


class Parser(argparse.ArgumentParser):
    """As argparse's, with these rules."""

    def __init__(self, *positional: Any, **named: Any) -> None:
        super().__init__(
            *positional, **{"allow_abbrev": False, "formatter_class": argparse.RawDescriptionHelpFormatter, **named}
        )

    def error(self, message: str) -> NoReturn:
        super().error(message + self._guess(message))

    def _guess(self, message: str) -> str:
        """What a misspelt word was meant to be, as far as that can be told."""
        if found := _CHOICE.search(message):
            known = re.findall(r"[\w.-]+", found[2])
        elif found := _UNKNOWN.search(message):
            known = [option for option in self._option_string_actions if option.startswith("--")]
        else:
            return ""
        close = difflib.get_close_matches(found[1], known, 1)
        return f"; did you mean {close[0]}?" if close else ""
