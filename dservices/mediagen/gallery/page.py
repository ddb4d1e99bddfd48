"""docs/gallery/README.md out of the table. Pure: the same table, the same page."""

from __future__ import annotations

from collections.abc import Sequence

from dservices.mediagen.gallery.table import Entry

SERVICE_PORT, SOURCE_PORT = 8751, 8750
"""Where `serve` puts MediaGen and the scripts, so that the page's MRLs are links."""
_TO_SCRIPTS = "../../dservices/mediagen/gallery/scripts"

HEAD = """\
# Gallery

Made by `python -m dservices.mediagen.gallery build`: it starts a network on this machine, sends every MRL below
through a real node to a real miner, and writes what comes back. Tests hold that the same bytes come back again:
directly, through the network, and from a container, with one thread or several, in any locale and time zone.

To try one, start `.venv/bin/python -m dservices.mediagen.gallery serve` and follow its MRL: that is MediaGen alone at
port {service}, with these scripts and their sources at port {source}. Change what stands behind `&`: any name, text or
number. With a node in front (`cgn up`) the path is the same and the answer says what it cost. The photographs and
drawings are computed by [`sources.py`](../../dservices/mediagen/gallery/sources.py); every method is in the
[reference](../reference/mediagen.md).

What makes bytes the same everywhere: fonts come from locked packages and nothing else is looked at, libvips, the
encoders and PDFium are inside locked wheels (`infra/requirements/run.lock`, with hashes), every encoder option that
matters is set, and nothing of the machine (clock, locale, chance, threads) reaches a script. A new version of one of
those wheels may change bytes; then this page is made again in the same commit.
"""


def page(entries: Sequence[Entry]) -> str:
    """The page as Markdown."""
    parts = [HEAD.format(service=SERVICE_PORT, source=SOURCE_PORT)]
    chapters = list(dict.fromkeys(entry.chapter for entry in entries))
    links = (f"[{title}](#{_anchor(title)})" for title in chapters)
    parts.append(f"{len(entries)} entries: " + " · ".join(links) + "\n")
    for title in chapters:
        parts.append(f"## {title}\n")
        parts += [_entry(entry) for entry in entries if entry.chapter == title]
    return "\n".join(parts)


def _anchor(title: str) -> str:
    return "".join(c for c in title.lower().replace(" ", "-") if c.isalnum() or c == "-")


def _entry(entry: Entry) -> str:
    path = entry.mrl(f"http://127.0.0.1:{SOURCE_PORT}")
    shown = f"[the document]({entry.file})" if entry.type == "pdf" else f"![{entry.title}]({entry.file})"
    lines = [f"`{name}: {value}`" for name, value in entry.headers.items()]
    header = f", with the header{'s' * (len(lines) > 1)} {', '.join(lines)}" if lines else ""
    return (
        f"### {entry.title}\n\n{entry.says}\n\n{shown}\n\n"
        f"[MRL](http://127.0.0.1:{SERVICE_PORT}{path}){header}, [script]({_TO_SCRIPTS}/{entry.script})\n\n"
        f"```\n{path}\n```\n"
    )
