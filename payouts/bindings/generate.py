"""Generates the bindings from the committed artefacts: `python -m payouts.bindings.generate [--check]`.

One module per contract with a class for it (a method per function, `deploy_data` for the constructor) and a class per
event; one module for each part that several contracts inherit; one module for all named errors. The same artefacts give
the same bytes.
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
INHERITED = {
    "Roles": ("IeoToken", "MainSale", "MasterAccount", "ResourcePrices", "UtilityToken"),
    "Erc20": ("IeoToken", "UtilityToken"),
}
"""What contracts have in common, and which: a class of its own for what all of them have and no earlier class has."""
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


def lines(item: dict[str, Any]) -> tuple[str, ...]:
    return tuple(event_lines(item) if item["type"] == "event" else function_lines(item))


def parts(abis: dict[str, list[dict[str, Any]]]) -> dict[str, list[dict[str, Any]]]:
    """Class -> the functions and events that it has itself, for contracts and for what they inherit."""
    left = {
        name: {lines(item): item for item in abi if item["type"] in ("event", "function")} for name, abi in abis.items()
    }
    found = {}
    for base, heirs in INHERITED.items():
        common = set.intersection(*(set(left[heir]) for heir in heirs))
        found[base] = [item for text, item in left[heirs[0]].items() if text in common]
        for heir in heirs:
            left[heir] = {text: item for text, item in left[heir].items() if text not in common}
    return found | {name: list(items.values()) for name, items in left.items()}


def module(name: str, items: list[dict[str, Any]], constructor: dict[str, Any] | None) -> str:
    """The text of the class's module; with a constructor it is a contract's."""
    bases = [base for base, heirs in INHERITED.items() if name in heirs]
    events = [item for item in items if item["type"] == "event"]
    functions = [item for item in items if item["type"] == "function"]
    what = (
        f"The contract `{name}` at an address." if constructor else f"What {', '.join(INHERITED[name])} have in common."
    )
    body: list[str] = []
    for item in events:
        body += event_lines(item)
    body += [f"class {name}({', '.join(bases or ['Contract'])}):", f'    """{what}"""', ""]
    if constructor:
        body += deploy_lines(name, constructor["inputs"])
    for item in functions:
        body += function_lines(item)
    text = "\n".join(body)
    head = [f'"""Bindings of {name}. Generated from the ABI by payouts.bindings.generate: do not edit."""', ""]
    if "Sequence[" in text:
        head.append("from collections.abc import Sequence")
    if events:
        head += ["from dataclasses import dataclass", "from typing import ClassVar"]
    known = ("Call", "Contract", "Log", "artifact", "decode_event", "encode", "encode_arguments", "reader")
    used = [word for word in known if re.search(rf"\b{word}\b", text.replace(what, ""))]
    head += ["", f"from payouts.bindings.abi import {', '.join(used)}"]
    head += [f"from payouts.bindings.{snake(base)} import {base}" for base in sorted(bases)]
    return "\n".join([*head, "", "", text.rstrip(), ""])


def deploy_lines(name: str, inputs: list[dict[str, Any]]) -> Iterator[str]:
    arguments = names(inputs)
    typed = [f"{n}: {python_type(a['type'])}" for n, a in zip(arguments, inputs, strict=True)]
    yield "    @staticmethod"
    yield f"    def deploy_data({', '.join(typed)}) -> bytes:"
    yield '        """The data of the transaction that creates the contract."""'
    yield f'        code = bytes.fromhex(str(artifact("{name}")["bytecode"])[2:])'
    values = "(" + "".join(f"{n}, " for n in arguments) + ")"
    yield f"        return code + encode_arguments({literal(a['type'] for a in inputs)}, {values})"
    yield ""


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
    abis = {artefact["contractName"]: artefact["abi"] for artefact in artefacts}
    files = {}
    for name, items in parts(abis).items():
        constructors = [item for item in abis.get(name, ()) if item["type"] == "constructor"]
        files[snake(name) + ".py"] = formatted(module(name, items, constructors[0] if constructors else None))
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
