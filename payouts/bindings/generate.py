"""Generates the bindings from the committed artefacts: `python -m payouts.bindings.generate [--check]`.

One module per contract with a class for it (a method per function, `deploy_data` for the constructor) and a class per
event; one module for all named errors. The same artefacts give the same bytes.
"""

import json
import keyword
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ARTIFACTS = HERE.parent / "contracts" / "artifacts"
PYTHON_TYPES = {"address": "str", "bool": "bool", "string": "str"}


def snake(name: str) -> str:
    """`balanceOf` -> `balance_of`, `DOMAIN_SEPARATOR` -> `domain_separator`; a keyword gets a trailing underscore."""
    words = re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", name.lstrip("_")).lower()
    return words + "_" if keyword.iskeyword(words) else words


def python_type(kind: str) -> str:
    if kind.endswith("[]"):
        return f"Sequence[{python_type(kind[:-2])}]"
    if kind.startswith(("uint", "int")):
        return "int"
    return PYTHON_TYPES.get(kind, "bytes")


def signature(item: dict[str, Any]) -> str:
    return f"{item['name']}({','.join(argument['type'] for argument in item['inputs'])})"


def keccak(text: str) -> str:
    from cgn_sdk.keccak import keccak_256

    return keccak_256(text.encode()).hex()


def names(arguments: list[dict[str, Any]]) -> list[str]:
    return [snake(argument["name"]) if argument["name"] else f"value{n}" for n, argument in enumerate(arguments)]


def literal(values: Iterable[str]) -> str:
    return "(" + "".join(f'"{value}", ' for value in values) + ")"


def function_lines(item: dict[str, Any]) -> Iterator[str]:
    arguments = names(item["inputs"])
    typed = "".join(f", {name}: {python_type(a['type'])}" for name, a in zip(arguments, item["inputs"], strict=True))
    outputs = [python_type(output["type"]) for output in item["outputs"]]
    result = {0: "None", 1: "".join(outputs)}.get(len(outputs), f"tuple[{', '.join(outputs)}]")
    yield f"    def {snake(item['name'])}(self{typed}) -> Call[{result}]:"
    reads = item["stateMutability"] in ("view", "pure")
    returned = ", ".join(output["name"] for output in item["outputs"] if output["name"])
    says = (
        f"`{signature(item)}`"
        + (" (reads)" if reads else "")
        + (" (takes ether)" if item["stateMutability"] == "payable" else "")
    )
    yield f'        """{says}{": " + returned if returned else ""}."""'
    yield "        return Call("
    yield "            self.address,"
    yield f'            "{signature(item)}",'
    types = literal(a["type"] for a in item["inputs"])
    values = "(" + "".join(f"{name}, " for name in arguments) + ")"
    yield f'            encode("{keccak(signature(item))[:8]}", {types}, {values}),'
    yield f"            reader({literal(output['type'] for output in item['outputs'])}),"
    yield "        )"
    yield ""


def event_lines(item: dict[str, Any]) -> Iterator[str]:
    fields = names(item["inputs"])
    yield "@dataclass(frozen=True, slots=True)"
    yield f"class {item['name']}:"
    yield f'    """Event `{signature(item)}`."""'
    yield ""
    yield f'    TOPIC: ClassVar[bytes] = bytes.fromhex("{keccak(signature(item))}")'
    types = "(" + "".join(f'("{a["type"]}", {a["indexed"]}), ' for a in item["inputs"]) + ")"
    yield f"    TYPES: ClassVar[tuple[tuple[str, bool], ...]] = {types}"
    yield ""
    for name, argument in zip(fields, item["inputs"], strict=True):
        yield f"    {name}: {python_type(argument['type'])}"
    yield ""
    yield "    @classmethod"
    yield f'    def decode(cls, log: Log) -> "{item["name"]} | None":'
    yield '        """None when the log is another event."""'
    yield "        if not log.topics or log.topics[0] != cls.TOPIC:"
    yield "            return None"
    yield "        return cls(*decode_event(cls.TYPES, log))"
    yield ""
    yield ""


def module(artefact: dict[str, Any]) -> str:
    name, abi = artefact["contractName"], artefact["abi"]
    events = [item for item in abi if item["type"] == "event"]
    functions = [item for item in abi if item["type"] == "function"]
    constructor = next((item for item in abi if item["type"] == "constructor"), {"inputs": []})
    body: list[str] = []
    for item in events:
        body += event_lines(item)
    body += [f"class {name}:", f'    """The contract `{name}` at an address."""', ""]
    body += ["    def __init__(self, address: str) -> None:", "        self.address = address.lower()", ""]
    arguments = names(constructor["inputs"])
    typed = [f"{n}: {python_type(a['type'])}" for n, a in zip(arguments, constructor["inputs"], strict=True)]
    body += [
        "    @staticmethod",
        f"    def deploy_data({', '.join(typed)}) -> bytes:",
        '        """The data of the transaction that creates the contract."""',
        f'        code = bytes.fromhex(str(artifact("{name}")["bytecode"])[2:])',
        f"        return code + encode_arguments({literal(a['type'] for a in constructor['inputs'])}, ("
        + "".join(f"{n}, " for n in arguments)
        + "))",
        "",
    ]
    for item in functions:
        body += function_lines(item)
    text = "\n".join(body)
    head = [
        f'"""Bindings of {name}. Generated from its ABI by payouts.bindings.generate: do not edit."""',
        "",
    ]
    if "Sequence[" in text:
        head.append("from collections.abc import Sequence")
    if events:
        head += ["from dataclasses import dataclass", "from typing import ClassVar"]
    used = [
        w
        for w in ("Call", "Log", "artifact", "decode_event", "encode", "encode_arguments", "reader")
        if re.search(rf"\b{w}\b", text)
    ]
    head += ["", f"from payouts.bindings.abi import {', '.join(used)}", "", ""]
    return "\n".join(head) + text.rstrip() + "\n"


def error_module(artefacts: list[dict[str, Any]]) -> str:
    found = {
        keccak(signature(item))[:8]: item
        for artefact in artefacts
        for item in artefact["abi"]
        if item["type"] == "error"
    }
    # what the compiler itself raises
    for name, kind, argument in (("Error", "string", "reason"), ("Panic", "uint256", "code")):
        item = {"name": name, "inputs": [{"name": argument, "type": kind}]}
        found[keccak(signature(item))[:8]] = item
    lines = [
        '"""Named errors of all contracts by selector. Generated by payouts.bindings.generate: do not edit."""',
        "",
    ]
    lines += ["from collections.abc import Mapping", "from typing import Final", ""]
    lines += ["ERRORS: Final[Mapping[str, tuple[str, Mapping[str, str]]]] = {"]
    for selector, item in sorted(found.items(), key=lambda pair: pair[1]["name"]):
        fields = ", ".join(f'"{n}": "{a["type"]}"' for n, a in zip(names(item["inputs"]), item["inputs"], strict=True))
        lines.append(f'    "{selector}": ("{item["name"]}", {{{fields}}}),')
    lines += ["}", '"""Selector (hexadecimal) -> name, arguments\' names and types in order."""', ""]
    return "\n".join(lines)


def formatted(text: str) -> str:
    ruff = Path(sys.executable).with_name("ruff")
    return subprocess.run(
        [str(ruff), "format", "--quiet", "-"], input=text, text=True, capture_output=True, check=True, cwd=HERE
    ).stdout


def generated() -> dict[str, str]:
    """File name -> text of every generated module."""
    artefacts = [json.loads(path.read_text()) for path in sorted(ARTIFACTS.glob("*.json"))]
    files = {snake(artefact["contractName"]) + ".py": formatted(module(artefact)) for artefact in artefacts}
    return files | {"errors.py": formatted(error_module(artefacts))}


def main() -> int:
    check = "--check" in sys.argv[1:]
    differing = 0
    for name, text in generated().items():
        path = HERE / name
        if path.exists() and path.read_text() == text:
            continue
        differing += 1
        print(("differs: " if check else "wrote ") + str(path.relative_to(HERE.parent.parent)))
        if not check:
            path.write_text(text)
    return 1 if check and differing else 0


if __name__ == "__main__":
    raise SystemExit(main())
