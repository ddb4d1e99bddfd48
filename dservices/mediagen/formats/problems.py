"""What is said of a file that cannot be decoded."""

from __future__ import annotations

from cgn_sdk.dservice.problems import Problem


def mangled(shown_name: str, kind: str, error: Exception) -> Problem:
    """FileMangled of the reference (2.6): libvips' own words, the first line of them, without addresses."""
    first = next((line.strip() for line in str(error).splitlines() if ":" in line and "unable to call" not in line), "")
    if "out of memory" in str(error):  # libvips and librsvg say so of what the bound of a request refuses them
        return Problem(422, "work_memory", f"{shown_name} ({kind}) needs more memory than a request may have")
    return Problem(
        422, "FileMangled", f"{shown_name} ({kind}) cannot be decoded: {first[:160] or 'the data is damaged'}"
    )
