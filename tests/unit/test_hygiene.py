"""What keeps the tree pleasant to live in, as tests (style: hygiene is tests too)."""

import ast
import re
import subprocess
import sys
import tomllib
from collections import Counter
from importlib.metadata import distribution
from pathlib import Path

import pytest
from cgn_sdk.protocol.errors import CODES

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = (
    "cgn_node",
    "central_service",
    "miner_client",
    "dservices",
    "ledger",
    "payouts",
    "cgn_chassis",
    "sdk/src/cgn_sdk",
    "infra/sandbox/cgn_sandbox",
)
LONGEST_FUNCTION_LINES = 69
"""A ratchet: lower it when the longest function gets shorter, never raise it."""
UNTYPED_MODULES = {"dservices.mediagen": 28, "tests": 4}
"""A ratchet: modules that mypy finds fault with, by where they are; lower it when one is clean, never raise it."""
COPYLEFT = re.compile(r"\bA?GPL|GNU (Affero )?General Public", re.IGNORECASE)


def sources() -> list[Path]:
    found = (path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
    return sorted(path for path in found if "node_modules" not in path.parts)


def tracked() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout.decode()
    return [ROOT / name for name in listed.split("\0") if name and (ROOT / name).is_file()]


def requirements() -> list[str]:
    """Names of every direct dependency of both distributions."""
    names = []
    for manifest in ("pyproject.toml", "sdk/pyproject.toml"):
        project = tomllib.loads((ROOT / manifest).read_text())["project"]
        listed = list(project.get("dependencies", []))
        for extra in project.get("optional-dependencies", {}).values():
            listed += extra
        names += [re.split(r"[<>=\[ ;]", line, maxsplit=1)[0] for line in listed]
    return sorted(set(names) - {"cgn", "cgn-sdk"})


def test_no_function_is_longer_than_the_ratchet() -> None:
    too_long = []
    for path in sources():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                if lines > LONGEST_FUNCTION_LINES:
                    too_long.append(f"{path.relative_to(ROOT)}:{node.lineno} {node.name}: {lines} lines")
    assert not too_long, "\n".join(too_long)


def test_every_module_says_what_it_is_for() -> None:
    def silent(path: Path) -> bool:
        return path.stat().st_size > 0 and not ast.get_docstring(ast.parse(path.read_text()))

    assert not [str(path.relative_to(ROOT)) for path in sources() if silent(path)]


def test_no_folder_is_named_for_nothing() -> None:
    """A folder called common, utils or helpers means that a name is missing (architecture)."""
    names = {"common", "utils", "helpers", "util", "misc"}
    assert not [str(path) for path in tracked() if names & set(path.relative_to(ROOT).parts[:-1])]


def test_every_dependency_has_its_sentence() -> None:
    text = (ROOT / "docs/dependencies.md").read_text()
    missing = [name for name in requirements() if f"`{name}`" not in text]
    assert not missing, f"docs/dependencies.md says nothing about {missing}"


@pytest.mark.parametrize("name", [name for name in requirements() if name != "tpm2-pytss"])
def test_no_dependency_we_ship_is_copyleft(name: str) -> None:
    """What each wheel declares. LGPL libraries linked as separate shared files are allowed and named in the docs."""
    facts = distribution(name).metadata
    licence = facts.get("License-Expression") or (facts.get("License") or "").split("\n")[0]
    classifiers = [line for line in facts.get_all("Classifier") or [] if line.startswith("License")]
    declared = re.sub(r"LGPL\S*|GNU Lesser General Public[^;]*", "", "; ".join([licence, *classifiers]))
    assert not COPYLEFT.search(declared), f"{name}: {declared}"


IMPORTED_AS = {
    "argon2-cffi": "argon2", "fonttools": "fontTools", "mini-racer": "py_mini_racer", "pillow": "PIL",
    "pycryptodome": "Crypto", "pynacl": "nacl", "safe-pysha3": "sha3",
}  # fmt: skip
NEVER_IMPORTED = {
    "pyvips-binary": "what pyvips loads",
    "font-source-sans-pro": "files",
    "font-source-serif-pro": "files",
    "manimgx-fonts": "files",
    "manimgx-fonts-cjk": "files",
    "tpm2-pytss": "an extra of its own, for tier 3",
}


def test_every_dependency_is_imported() -> None:
    text = "\n".join(path.read_text() for path in sources())
    tools = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]["dev"]
    shipped = set(requirements()) - {re.split(r"[<>=\[ ;]", line, maxsplit=1)[0] for line in tools}
    modules = {name: IMPORTED_AS.get(name, name) for name in shipped - set(NEVER_IMPORTED)}
    imports = {name: rf"(?m)^\s*(import|from) {module}\b|_imported\(\"{module}\"" for name, module in modules.items()}
    assert [name for name, pattern in sorted(imports.items()) if not re.search(pattern, text)] == []


def test_every_bound_is_used_and_every_code_is_sent() -> None:
    """Whoever reads a bound believes that something holds it."""
    trees = {path: ast.walk(ast.parse(path.read_text())) for path in sources()}
    used, said, bounds = set(), set(), set()
    for path, nodes in trees.items():
        for node in nodes:
            match node:
                case ast.Name(id=name, ctx=ast.Store()) if path.name == "limits.py" and name.isupper():
                    bounds.add(name)
                case ast.Name(id=name, ctx=ast.Load()) | ast.Attribute(attr=name):
                    used.add(name)
                case ast.Constant(value=str(text)) if path != ROOT / "sdk/src/cgn_sdk/protocol/errors.py":
                    said.add(text)
    assert bounds - used == set()
    assert set(CODES) - said == set()


def test_types_are_checked_everywhere_but_in_fewer_and_fewer_modules() -> None:
    """The list of modules without a check holds what MediaGen and the tests still owe, and nothing else."""
    mypy = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["mypy"]
    for package in PACKAGES:
        assert any((ROOT / package).is_relative_to(ROOT / entry) for entry in mypy["files"]), package
    assert mypy["strict"] is True
    listed = [name for override in mypy["overrides"] for name in override["module"]]
    support = {path.stem for path in (ROOT / "tests").rglob("*.py")}
    where = Counter(
        "dservices.mediagen" if name.startswith("dservices.mediagen.") else "tests" if name in support else name
        for name in listed
    )
    assert where == UNTYPED_MODULES


def test_nothing_unfinished_is_in_the_sources() -> None:
    marks = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in sources()
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if marks.search(line)
    ]
    assert not found, found


def test_no_path_of_one_machine_is_tracked() -> None:
    strange = re.compile(rb"(?<![\w.])/(work|farm|root)/[a-z.]")
    found = [str(path.relative_to(ROOT)) for path in tracked() if strange.search(path.read_bytes())]
    assert [name for name in found if name != "tests/unit/test_hygiene.py"] == []


def test_the_sandbox_starts_processes_and_imports_none() -> None:
    """It meets them where everybody does: by their commands and settings files."""
    allowed = {"cgn_sandbox", "cgn_sdk", "cgn_chassis", "aiohttp", *sys.stdlib_module_names}
    foreign = set()
    for path in (ROOT / "infra/sandbox/cgn_sandbox").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            foreign |= {name.partition(".")[0] for name in names} - allowed
    assert not foreign


WRITTEN_ONCE = {
    r"\"proxy-connection\"": "sdk/src/cgn_sdk/protocol/http_fields.py",
    r"\bcg[ns]_\(?\[": "sdk/src/cgn_sdk/protocol/ids.py",
    r"\"cgs_": "sdk/src/cgn_sdk/protocol/ids.py",
    r"<< min\(": "cgn_chassis/backoff.py",
}
"""Knowledge that several rooms need -> the one place that holds it: hop-by-hop fields, forms of keys, growing waits."""


@pytest.mark.parametrize("pattern", WRITTEN_ONCE)
def test_shared_knowledge_is_written_once(pattern: str) -> None:
    found = [str(path.relative_to(ROOT)) for path in sources() if re.search(pattern, path.read_text())]
    assert found == [WRITTEN_ONCE[pattern]]


def test_waits_grow_in_one_place() -> None:
    """Whoever tries again takes `cgn_chassis.backoff`."""
    grows = re.compile(r"\b\w*(wait|pause|delay|interval)\w* (\*= |= .*(\b2 \* |\* 2\b))")
    found = [(str(path.relative_to(ROOT)), line) for path in sources() for line in grows.findall(path.read_text())]
    assert found == []


OUR_REFUSALS = {
    "AttemptFailed", "BadAnswer", "BadMessage", "BadResponse", "Conflict", "EgressRefused", "HopFailed", "InvalidStatus",
    "ProblemError", "ProtocolError", "RunnerFailed", "SettingsError", "StoreError", "TooMany",
}  # fmt: skip
"""Classes that stand for many rules each."""
REFUSALS_OF = (
    "unit/cgn_node",
    "unit/miner_client",
    "unit/central_service",
    "integration/test_node",
    "integration/test_miner",
)


def test_a_refusal_is_asserted_with_its_rule() -> None:
    """Any other rule that refuses first would make a test without one pass: `match`, or a name to look at it by."""
    found = []
    for path in sorted((ROOT / "tests").rglob("*.py")):
        if str(path.relative_to(ROOT / "tests")).startswith(REFUSALS_OF):
            for node in ast.walk(ast.parse(path.read_text())):
                for item in node.items if isinstance(node, ast.With | ast.AsyncWith) else ():
                    call = item.context_expr
                    if isinstance(call, ast.Call) and ast.unparse(call.func) == "pytest.raises":
                        kinds = {name.id for name in ast.walk(call.args[0]) if isinstance(name, ast.Name)}
                        if kinds & OUR_REFUSALS and not call.keywords and item.optional_vars is None:
                            found.append(f"{path.relative_to(ROOT)}:{call.lineno}")
    assert found == []


def test_every_decision_is_in_the_list() -> None:
    text = (ROOT / "docs/decisions/README.md").read_text()
    records = sorted(path.name for path in (ROOT / "docs/decisions").glob("0*.md"))
    assert re.findall(r"\]\((0[^)]+)\)", text) == records
