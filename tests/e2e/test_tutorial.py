"""The snippets of README and tutorial, run as they stand in them (S-6)."""

import asyncio
import re
from pathlib import Path

import pytest
import pyvips
from cgn_sandbox.network import Sandbox, SandboxOptions

ROOT = Path(__file__).resolve().parents[2]
TUTORIAL = ROOT / "docs/tutorial.md"


def snippets(language: str, page: Path = TUTORIAL) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(), re.DOTALL)


def fill(text: str, network: Sandbox) -> str:
    """The README's snippet with a real network's names in place of the invented ones."""
    for invented, real in (
        ("https://127.0.0.1:PORT", network.work_url),
        ("ent_…", network.plan.enterprise.id),
        ("cgn_…", network.plan.enterprise.api_key),
        ("authority.pem", str(network.authority)),
        ("https://example.org/thumbnail.ms", f"{network.source_url}/square.ms"),
    ):
        assert invented in text
        text = text.replace(invented, real)
    return text


@pytest.mark.timeout(120)
async def test_the_tutorial_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "square.ms").write_text(snippets("javascript")[0])
    names: dict[str, object] = {}
    exec(compile(snippets("python")[0], str(TUTORIAL), "exec"), names)
    async with Sandbox(SandboxOptions(chain=False, miners=1, sources=tmp_path)) as network:
        monkeypatch.setenv("CGN_ACCOUNT", network.plan.enterprise.id)
        monkeypatch.setenv("CGN_KEY", network.plan.enterprise.api_key)
        monkeypatch.setenv("CGN_CA", str(network.authority))
        picture = await asyncio.to_thread(names["ask"], network.work_url, network.source_url)  # type: ignore[arg-type]
        monkeypatch.chdir(tmp_path)
        text = fill(snippets("python", ROOT / "README.md")[0], network)
        await asyncio.to_thread(exec, compile(text, "README.md", "exec"), {})
    assert (tmp_path / "thumbnail.jpg").read_bytes().startswith(b"\x89PNG")  # what the tutorial's script makes
    image = pyvips.Image.new_from_buffer(picture, "")
    assert (image.width, image.height) == (320, 320)
    assert image.max() > 200
