"""The tutorial's snippets, run as they stand in it (S-6)."""

import asyncio
import re
from pathlib import Path

import pytest
import pyvips
from cgn_sdk.sandbox.network import Sandbox, SandboxOptions

TUTORIAL = Path(__file__).resolve().parents[2] / "docs/tutorial.md"


def snippets(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", TUTORIAL.read_text(), re.DOTALL)


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
    image = pyvips.Image.new_from_buffer(picture, "")
    assert (image.width, image.height) == (320, 320)
    assert image.max() > 200
