"""The descriptor of a DService (S-3): what is right is read, and each mistake is told with what to write instead."""

import re
from pathlib import Path

import pytest
from cgn_sdk.dservice import app
from cgn_sdk.dservice.descriptor import _TABLES, DescriptorError, read

ROOT = Path(__file__).resolve().parents[4]
LEAST = '[dservice]\nname = "hello"\nversion = "0.1.0"\ncommand = ["python", "app.py"]\n'


def folder_with(tmp_path: Path, text: str) -> Path:
    (tmp_path / "dservice.toml").write_bytes(text.encode())
    return tmp_path


def test_the_least_descriptor(tmp_path: Path) -> None:
    found = read(folder_with(tmp_path, LEAST))
    assert (found.name, found.version, found.route, found.port, found.health) == (
        "hello",
        "0.1.0",
        "/hello",
        0,
        "/_cgn/health",
    )
    assert found.words[1:] == ["app.py"]


def test_mediagens_own_descriptor_is_in_order() -> None:
    assert read(ROOT / "dservices/mediagen").route == "/mgen"


@pytest.mark.parametrize("template", sorted(app.COMMANDS))
def test_what_new_writes_is_in_order(template: str, tmp_path: Path) -> None:
    found = read(folder_with(tmp_path, app.descriptor_text("hello", template)))
    assert found.port == (app.COMMANDS[template][1] or 0)


def test_a_byte_order_mark_is_no_mistake(tmp_path: Path) -> None:
    assert read(folder_with(tmp_path, "\ufeff" + LEAST)).name == "hello"


def test_the_reference_page_is_a_descriptor_and_names_everything(tmp_path: Path) -> None:
    """S-6: the page's example is read as it stands, and has every member there is."""
    page = (ROOT / "docs/reference/dservice-descriptor.md").read_text()
    example = re.search(r"```toml\n(.*?)```", page, re.DOTALL)
    assert example is not None
    assert read(folder_with(tmp_path, example[1])).environment == {"GREETING": "Hello"}
    for table, members in _TABLES.items():
        assert f"[{table}]" in example[1]
        for member in members:
            assert re.search(rf"^{member} = ", example[1], re.MULTILINE), f"[{table}] {member}"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (LEAST.replace('"hello"', '"Hello"'), ":2: name must be lower-case letters"),
        (LEAST.replace("name = ", "nmae = "), "[dservice] has no nmae; did you mean name?"),
        (LEAST.replace("version", "#"), "[dservice] needs version"),
        (LEAST.replace('["python", "app.py"]', '"python app.py"'), ":4: command must be a list of words"),
        (LEAST.replace('["python", "app.py"]', "[]"), ":4: command must have at least one word"),
        (LEAST + "port = 99999\n", ":5: port must be a TCP port from 1 to 65535, is 99999"),
        (LEAST + 'port = "8000"\n', ":5: port must be a TCP port from 1 to 65535, is '8000'"),
        (LEAST + 'route = "/hello/"\n', ":5: route must be a path such as"),
        (LEAST + 'health = "healthz"\n', ":5: health must be a path such as"),
        (LEAST + "[resorces]\nthreads = 2\n", ":5: there is no table [resorces]; did you mean resources?"),
        (LEAST + "[resources]\nmemory_bytes = 5\n", ":6: memory_bytes must be bytes, at least 16 MiB, is 5"),
        (LEAST + '[tiers]\nallowed = ["5"]\n', ":6: allowed must be a list of 1, 2, 3, 4a, 4b"),
        (LEAST + '[egress]\nallowed = "public"\n', ":6: allowed must be a list such as"),
        (LEAST + "[environment]\nGREETING = 5\n", ':6: [environment] holds NAME = "text", and GREETING is 5'),
        (LEAST + "tiers = 5\n", "[dservice] has no tiers"),
        ("dservice = 5\n", "dservice must be a table [dservice]"),
        ("[dservice\n", "not TOML: "),
        ("#" * 70_000, "longer than 65536 bytes"),
    ],
)
def test_a_mistake_says_what_to_write(text: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(DescriptorError) as wrong:
        read(folder_with(tmp_path, text))
    assert said in str(wrong.value)
    assert str(tmp_path) in str(wrong.value)


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(DescriptorError) as wrong:
        read(folder_with(tmp_path, LEAST.replace('"hello"', '"H"') + "port = -1\n"))
    assert len(wrong.value.mistakes) == 2


def test_a_folder_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(DescriptorError, match=r"is no folder; `cgn dservice new NAME` makes one"):
        read(tmp_path / "hello")
    with pytest.raises(DescriptorError, match=r"has no dservice\.toml, which says how the DService starts"):
        read(tmp_path)
