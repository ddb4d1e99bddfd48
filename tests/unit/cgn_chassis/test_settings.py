"""Settings from one file and the environment (O-5)."""

from dataclasses import FrozenInstanceError, dataclass
from pathlib import Path

import pytest

from cgn_chassis.settings import Secret, SettingsError, exposed, load, named_sections, reference, section, setting


@dataclass(frozen=True)
class Cache:
    size: int = setting(10, unit="MiB", about="How much is kept.", minimum=1, maximum=100)
    names: tuple[str, ...] = setting(("a", "b"), about="What is kept.")


@dataclass(frozen=True)
class Example:
    folder: Path = setting(about="Where files go.")
    port: int = setting(8080, unit="port", about="Where it listens.", minimum=0, maximum=65535)
    verbose: bool = setting(False, about="Says more.")
    mode: str = setting("fast", about="How.", choices=("fast", "safe"))
    ratio: float = setting(0.5, about="How much of it.")
    token: Secret = setting(Secret(""), about="What opens the door.")
    cache: Cache = section(Cache, about="What is remembered.")


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "example.toml"
    path.write_text(text)
    return path


def mistakes(tmp_path: Path, text: str, environ: dict[str, str] | None = None) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        load(Example, write(tmp_path, text), prefix="EX_", environ=environ or {})
    return [line.replace(str(tmp_path) + "/", "") for line in caught.value.mistakes]


def test_file_over_default_and_environment_over_file(tmp_path: Path) -> None:
    path = write(tmp_path, 'folder = "data"\nport = 1\n[cache]\nsize = 20\nnames = ["x"]\n')
    read = load(Example, path, prefix="EX_", environ={"EX_PORT": "2", "EX_CACHE__SIZE": "30", "OTHER": "1"})
    assert read.folder == tmp_path / "data"
    assert (read.port, read.cache.size, read.cache.names, read.mode) == (2, 30, ("x",), "fast")
    with pytest.raises(FrozenInstanceError):
        read.port = 3  # type: ignore[misc]


def test_without_a_file_the_environment_alone_is_enough() -> None:
    read = load(
        Example, None, prefix="EX_", environ={"EX_FOLDER": "/srv/x", "EX_CACHE__NAMES": "p, q", "EX_VERBOSE": "yes"}
    )
    assert (read.folder, read.cache.names, read.verbose) == (Path("/srv/x"), ("p", "q"), True)


def test_every_mistake_is_named_with_its_line(tmp_path: Path) -> None:
    text = 'folder = "d"\nport = "x"\nmod = "safe"\nverbose = 1\n\n[cache]\nsize = 1000\nsiez = 2\n'
    assert mistakes(tmp_path, text) == [
        "example.toml:2: port must be a whole number, is 'x'",
        "example.toml:4: verbose must be true or false, is 1",
        "example.toml:7: cache.size must be at most 100 MiB, is 1000",
        "example.toml:8: no setting cache.siez; did you mean size?",
        "example.toml:3: no setting mod; did you mean mode?",
    ]


def test_a_missing_setting_is_named_with_its_sentence_and_variable(tmp_path: Path) -> None:
    assert mistakes(tmp_path, "") == ["example.toml: folder must be given (Where files go; or EX_FOLDER)"]


def test_broken_toml_is_named_with_line_and_column(tmp_path: Path) -> None:
    [only] = mistakes(tmp_path, 'folder = "d"\nport == 1\n')
    assert only.startswith("example.toml:2:7: not TOML:")


def test_wrong_environment_is_named(tmp_path: Path) -> None:
    found = mistakes(tmp_path, 'folder = "d"\n', {"EX_PORT": "many", "EX_PROT": "1", "EX_MODE": "odd"})
    assert found == [
        "environment EX_PORT: must be a whole number, is 'many'",
        "environment EX_MODE must be one of fast, safe, is 'odd'",
        "environment EX_PROT: no such setting; did you mean EX_PORT?",
    ]


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"nowhere\.toml: cannot be read"):
        load(Example, tmp_path / "nowhere.toml", prefix="EX_", environ={})


def test_secrets_come_from_files_or_environment_only_and_never_show(tmp_path: Path) -> None:
    (tmp_path / "t").write_text("open sesame\n")
    read = load(Example, write(tmp_path, 'folder = "d"\ntoken_file = "t"\n'), prefix="EX_", environ={})
    assert read.token.reveal() == "open sesame"
    assert "sesame" not in repr(read) + str(read.token) + f"{read.token}"
    read = load(Example, write(tmp_path, 'folder = "d"\n'), prefix="EX_", environ={"EX_TOKEN": "abc"})
    assert read.token == Secret("abc")
    read = load(Example, None, prefix="EX_", environ={"EX_FOLDER": "d", "EX_TOKEN_FILE": str(tmp_path / "t")})
    assert read.token.reveal() == "open sesame"
    [only] = mistakes(tmp_path, 'folder = "d"\ntoken = "abc"\n')
    assert only == "example.toml:2: token is a secret and does not stand here: give token_file, or EX_TOKEN"


def test_a_secret_file_has_a_bound(tmp_path: Path) -> None:
    (tmp_path / "t").write_bytes(b"x" * 70_000)
    [only] = mistakes(tmp_path, 'folder = "d"\ntoken_file = "t"\n')
    assert "longer than 65536 bytes" in only


def test_the_reference_loads_as_the_defaults(tmp_path: Path) -> None:
    text = reference(Example)
    assert "# Where it listens. Unit: port." in text
    assert "[cache]" in text
    path = write(tmp_path, text.replace("# folder =        (must be given)", 'folder = "d"'))
    assert load(Example, path, prefix="EX_", environ={}) == Example(folder=tmp_path / "d")


@dataclass(frozen=True)
class Garden:
    plots: dict[str, Cache] = named_sections(about="What grows where.")


def test_named_sections_hold_one_table_per_name(tmp_path: Path) -> None:
    read = load(Garden, write(tmp_path, "[plots.north]\nsize = 5\n[plots.south]\n"), prefix="EX_", environ={})
    assert read.plots == {"north": Cache(size=5), "south": Cache()}
    assert load(Garden, None, prefix="EX_", environ={}).plots == {}
    assert "# [plots.<name>]" in reference(Garden)


def test_mistakes_in_named_sections_have_their_line(tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as caught:
        load(Garden, write(tmp_path, "[plots.north]\nsiz = 5\n"), prefix="EX_", environ={})
    assert "example.toml:2: no setting plots.north.siz; did you mean size?" in caught.value.mistakes[0]
    with pytest.raises(SettingsError, match=r"plots must be tables \[plots.<name>\]"):
        load(Garden, write(tmp_path, "plots = 5\n"), prefix="EX_", environ={})


@pytest.mark.parametrize(
    "name", ["SERVICE_HOST", "SERVICE_PORT", "SERVICE_PORT_WORK", "PORT_443_TCP_ADDR", "PORT_53_UDP"]
)
def test_what_kubernetes_puts_into_a_pod_is_no_mistake(tmp_path: Path, name: str) -> None:
    """It names its Services' addresses after them, in every pod beside them."""
    read = load(Example, write(tmp_path, 'folder = "d"\n'), prefix="EX_", environ={f"EX_{name}": "tcp://10.0.0.1:443"})
    assert read.port == 8080


def test_a_byte_order_mark_is_no_mistake(tmp_path: Path) -> None:
    (tmp_path / "bom.toml").write_bytes("\ufefffolder = 'd'\n".encode())
    assert load(Example, tmp_path / "bom.toml", prefix="EX_", environ={}).folder == tmp_path / "d"


def test_a_secrets_file_that_others_can_read_is_told(tmp_path: Path) -> None:
    (tmp_path / "t").write_text("abc")
    (tmp_path / "t").chmod(0o640)
    path = write(tmp_path, 'folder = "d"\ntoken_file = "t"\n')
    assert exposed(load(Example, path, prefix="EX_", environ={})) == [
        f"token_file: {tmp_path}/t can be read by others: chmod 600 it"
    ]
    (tmp_path / "t").chmod(0o600)
    assert exposed(load(Example, path, prefix="EX_", environ={})) == []
