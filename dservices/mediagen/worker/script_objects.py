"""The smaller objects of MediaScript (reference 4): profiles, files, archives, XML, metadata documents."""

from __future__ import annotations

import io
import zipfile
from typing import Any, Protocol
from xml.etree import ElementTree

from cgn_sdk.dservice.problems import Problem

from dservices.mediagen import limits
from dservices.mediagen.channel import Data
from dservices.mediagen.formats import metadata, profiles
from dservices.mediagen.language.catalogue import FILE, PROFILE, ZIP, check
from dservices.mediagen.operations import colours
from dservices.mediagen.operations import host_port as operations

PROFILES_MAX = 64
_ZIP_TIME = (1980, 1, 1, 0, 0, 0)


class Host(operations.Host, Protocol):
    """One request, as these objects see it: what operations ask of it, its files and archives."""

    files: dict[str, bytes]
    zips: dict[int, dict[str, bytes]]

    def address(self, name: str) -> str:
        """An absolute address, or a `mem:` path."""

    def view(self, name: str) -> Data:
        """The bytes of an address or file."""

    def write(self, name: str, data: bytes, content_type: str) -> None:
        """Keeps a file of this request, or puts it at an address."""


def dispatch(host: Host, name: str, handle: Any, packed: Any) -> Any:
    """Everything that is neither Media nor req nor resp."""
    kind, _, method = name.partition(".")
    values = packed.get("positional", []) if isinstance(packed, dict) else []
    if name == "IccProfile":
        return _new_profile(host, values)
    if name == "IccProfile.list":
        return ["rgb", "cmyk", "p3"]
    if kind == "profile" and method in PROFILE and handle in host.profiles:
        check(PROFILE[method], packed)
        return _profile(host, method, handle)
    if kind == "file" and method in FILE:
        return _file(host, method, str(handle), check(FILE[method], packed))
    if name == "Zip":
        return _new_zip(host, handle)
    if kind == "zip" and method in ZIP and handle in host.zips:
        return _zip(host, method, handle, check(ZIP[method], packed))
    if kind == "xml":
        return _xml(method, [str(value) for value in values])
    if kind == "metadata":
        return _metadata(method, values)
    raise Problem(422, "unknown_method", f"{name[:80]} is not available")


def _new_profile(host: Host, values: list[Any]) -> int:
    if len(host.profiles) >= PROFILES_MAX:
        raise Problem(422, "script_limit", f"a script may have at most {PROFILES_MAX} profiles")
    source = values[0] if values else None
    if isinstance(source, dict) and source.get("$") == "media":
        data = host.picture(source["v"]).profile
        if data is None:
            raise Problem(
                422,
                "no_profile",
                "the picture has no embedded profile",
                expected="a picture with one, or a profile's name",
            )
    elif isinstance(source, str):
        data = colours.profile_of(host, source)
    else:
        raise Problem(
            422,
            "bad_parameter",
            "IccProfile: expected a Media or a name",
            expected="a Media, 'rgb', 'cmyk', 'p3' or an address",
        )
    number = len(host.profiles) + 1
    host.profiles[number] = colours.checked_profile(data)
    return number


def _profile(host: Host, method: str, handle: int) -> str:
    data = host.profiles[handle]
    if method == "getName":
        return colours.profile_name(data)
    return profiles.space(data) if method == "getColorSpace" else data[12:16].decode("ascii", "replace").strip()


def _is_there(host: Host, path: str) -> bool:
    """Whether an address or a store has it: by asking for it, which counts as a source."""
    try:
        host.view(path)
    except Problem as problem:
        if problem.status == 404:
            return False
        raise
    return True


def _file(host: Host, method: str, path: str, args: dict[str, Any]) -> Any:
    """Files are the request's own (`mem:`) or read from an address; nothing else exists here."""
    address = host.address(path if ":" in path or method == "read" else f"mem:/{path}")
    inside = address.startswith("mem:/")
    match method:
        case "exists":
            return address in host.files if inside else _is_there(host, path)
        case "read":
            return host.read(path)[: limits.CALL_MAX_CHARS // 2].decode("utf-8", "replace")
        case "getSize":
            return len(host.read(path))
        case "remove":
            return host.files.pop(address, None) is not None
        case _:
            if not inside:
                raise Problem(
                    422, "bad_parameter", "File.write: only mem: files can be written", expected="new File('mem:/name')"
                )
            host.write(address, host.files.get(address, b"") + args["text"].encode("utf-8", "replace"), "text/plain")
            return None


def _new_zip(host: Host, handle: Any) -> int:
    if type(handle) is not int or len(host.zips) >= PROFILES_MAX:
        raise Problem(422, "script_limit", f"a script may have at most {PROFILES_MAX} archives")
    number = len(host.zips) + 1
    host.zips[number] = {}
    return number


def _zip(host: Host, method: str, handle: int, args: dict[str, Any]) -> None:
    entries = host.zips[handle]
    if method == "add":
        name = args["name"].replace("\\", "/")
        if name.startswith("/") or ".." in name.split("/") or ":" in name:
            raise Problem(
                422,
                "bad_parameter",
                "Zip.add: a name within the archive",
                parameter="name",
                expected="a relative path without ..",
            )
        if len(entries) >= limits.MEDIA_MAX:
            raise Problem(422, "script_limit", f"an archive may have at most {limits.MEDIA_MAX} entries")
        entries[name] = host.read(args["path"])
        return
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in entries.items():
            archive.writestr(zipfile.ZipInfo(name, _ZIP_TIME), data, zipfile.ZIP_DEFLATED)
    host.write(args["name"], stream.getvalue(), "application/zip")


# -- XML ----------------------------------------------------------------------------------------------------------


def _xml(method: str, values: list[str]) -> Any:
    root = metadata.parse_xml(values[0])
    if method == "parse":
        return ElementTree.tostring(root, encoding="unicode")
    element = _at(root, values[1], make=method == "set")
    match method:
        case "text":
            return None if element is None else "".join(element.itertext())
        case "set":
            assert element is not None
            for child in list(element):
                element.remove(child)
            element.text = values[2]
            return ElementTree.tostring(root, encoding="unicode")
        case "names":
            return [child.tag.rpartition("}")[2] for child in element] if element is not None else []
        case _:
            raise Problem(422, "unknown_method", f"XmlDocument has no method {method[:40]!r}")


def _at(root: ElementTree.Element, path: str, *, make: bool) -> ElementTree.Element | None:
    """An element by local names joined with slashes, below the root; made if it is missing and `make` is set."""
    element = root
    for name in filter(None, path.split("/")[:32]):
        found = next((child for child in element if child.tag.rpartition("}")[2] == name), None)
        if found is None:
            if not make:
                return None
            if not name.isidentifier():
                raise Problem(422, "bad_parameter", f"{name[:40]!r} is no element name", expected="names joined with /")
            found = ElementTree.SubElement(element, name)
        element = found
    return element


def _metadata(method: str, values: list[Any]) -> Any:
    kind = values[0]
    if kind not in ("Exif", "IPTC"):
        raise Problem(422, "bad_parameter", "the kind is Exif or IPTC")
    match method:
        case "fields":
            return [list(pair) for pair in metadata.fields_of(kind, "" if values[1] == "null" else str(values[1]))]
        case "check":
            metadata.check_field(kind, str(values[1]), str(values[2]))
            return None
        case "xml":
            pairs = [(str(name), str(value)) for name, value in values[1]]
            for name, value in pairs:
                metadata.check_field(kind, name, value)
            return metadata.to_xml(kind, pairs)
        case _:
            raise Problem(422, "unknown_method", f"metadata documents have no method {method[:40]!r}")
