"""Named stores (G-13): a script says `photos:2026/cat.jpg`, and what `photos` is stands in a document of its account: a
web folder, an S3 bucket, a container of Azure Blob or Data Lake. The MRL names the document (`stores=URL`), or the
operator a file. Read and written is what lies below a store's own folder.

What grants access stays here, in the front: the worker with the script and the decoders knows names only, and is given
bytes. S3 requests are signed for five minutes (AWS Signature Version 4, in the query); everything else carries what the
document says. The addresses that come of it go through the same checks as any other.

Sources: AWS, "Authenticating Requests: Using Query Parameters"; Azure, multi-protocol access of Data Lake Storage.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import quote, urlsplit

from cgn_sdk.dservice.problems import Problem

from dservices.mediagen import limits
from dservices.mediagen.front.pool import FetchForWorker, PutForWorker

PARAMETER = "stores"
"""Of the MRL: the address of the document."""
_NAME = re.compile(r"[a-z][a-z0-9-]{1,31}")
_TAKEN = frozenset("http https ftp file data mem read write results scripts fonts sys cgn".split())  # noqa: SIM905
"""What stands for something else before a colon, now or later."""
_SIGNED_S = 300
"""How long a signed address is good for: longer than a fetch may take, too short to be worth stealing."""


class Store(Protocol):
    """One place; `address` is where a path in it lies, for reading (GET) or writing (PUT)."""

    def address(self, method: str, path: str, now_s: float) -> str: ...


@dataclass(frozen=True, slots=True)
class Folder:
    """Below an address, with the same query on each (a SAS, a token, or nothing)."""

    base: str
    query: str

    def address(self, method: str, path: str, now_s: float) -> str:
        return self.base + _encoded(path) + (f"?{self.query}" if self.query else "")


@dataclass(frozen=True, slots=True)
class Bucket:
    """Of S3 or what speaks like it, addressed by path."""

    endpoint: str
    bucket: str
    region: str
    prefix: str
    access_key: str
    secret_key: str
    session_token: str

    def address(self, method: str, path: str, now_s: float) -> str:
        target = f"/{self.bucket}/{_encoded(self.prefix + path)}"
        host = urlsplit(self.endpoint).netloc
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now_s))
        scope = f"{stamp[:8]}/{self.region}/s3/aws4_request"
        fields = {
            "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
            "X-Amz-Credential": f"{self.access_key}/{scope}",
            "X-Amz-Date": stamp,
            "X-Amz-Expires": str(_SIGNED_S),
            "X-Amz-SignedHeaders": "host",
        }
        if self.session_token:
            fields["X-Amz-Security-Token"] = self.session_token
        query = "&".join(f"{name}={quote(value, safe='-_.~')}" for name, value in sorted(fields.items()))
        request = f"{method}\n{target}\n{query}\nhost:{host}\n\nhost\nUNSIGNED-PAYLOAD"
        text = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{hashlib.sha256(request.encode()).hexdigest()}"
        key = f"AWS4{self.secret_key}".encode()
        for part in scope.split("/"):
            key = hmac.digest(key, part.encode(), "sha256")
        return f"{self.endpoint}{target}?{query}&X-Amz-Signature={hmac.digest(key, text.encode(), 'sha256').hex()}"


class Stores:
    """The stores of one request. `clock` is the wall clock, for signatures."""

    def __init__(self, stores: Mapping[str, Store], clock: Callable[[], float] = time.time) -> None:
        self._stores, self._clock = stores, clock

    @property
    def names(self) -> list[str]:
        return sorted(self._stores)

    def with_(self, more: Stores) -> Stores:
        """These, and more; of one name the others count."""
        return Stores({**self._stores, **more._stores}, self._clock)

    def resolved(self, method: str, name: str) -> str:
        """The address of `store:path`; any other name as it is."""
        scheme, separator, path = name.partition(":")
        store = self._stores.get(scheme) if separator else None
        if store is None:
            return name
        parts = path.lstrip("/").split("/")
        if not path or any(part in ("", ".", "..") for part in parts) or len(path) > limits.MRL_MAX_CHARS:
            raise Problem(
                422,
                "bad_parameter",
                f"{name!r:.200} is no path of the store {scheme}",
                parameter="name",
                expected=f"{scheme}:folder/name, no empty part, none of . and ..",
            )
        return store.address(method, "/".join(parts), self._clock())

    def fetch(self, fetch: FetchForWorker) -> FetchForWorker:
        """A fetch that knows these names."""

        async def fetched(address: str, purpose: str) -> Any:
            return await fetch(self.resolved("GET", address), purpose)

        return fetched

    def put(self, put: PutForWorker) -> PutForWorker:
        async def stored(address: str, data: bytes, content_type: str) -> None:
            await put(self.resolved("PUT", address), data, content_type)

        return stored


def _encoded(path: str) -> str:
    return quote(path, safe="/-_.~")


# -- the document -----------------------------------------------------------------------------------------------------


def read(document: bytes) -> Stores:
    """The stores that a document defines. Problem that names what is wrong and where, and repeats no value of it."""
    try:
        found = json.loads(document)
    except (ValueError, RecursionError):
        raise _refused("it is no JSON") from None
    stores = found.get("stores") if isinstance(found, dict) else None
    if not isinstance(stores, dict):
        raise _refused('it has no object "stores"')
    if len(stores) > limits.STORES_MAX:
        raise _refused(f"it defines more than {limits.STORES_MAX} stores")
    return Stores({_name(name): _store(name, facts) for name, facts in stores.items()})


def _refused(what: str) -> Problem:
    return Problem(
        422,
        "bad_stores",
        f"the document of stores cannot be used: {what}",
        parameter=PARAMETER,
        expected='{"stores": {"name": {"type": "http" | "s3" | "azure" | "datalake", …}}}',
    )


def _name(name: str) -> str:
    if _NAME.fullmatch(name) is None or name in _TAKEN:
        raise _refused(
            f"{name!r:.40} cannot be a store's name (2 to 32 of a-z, 0-9, -; not {', '.join(sorted(_TAKEN))})"
        )
    return name


def _store(name: str, facts: Any) -> Store:
    if not isinstance(facts, dict):
        raise _refused(f"{name} is no object")
    known = {"http": _http, "azure": _azure, "datalake": _azure, "s3": _s3}
    make = known.get(str(facts.get("type")))
    if make is None:
        raise _refused(f"{name} has no type that is known ({', '.join(known)})")
    return make(name, {key: value for key, value in facts.items() if key != "type"})


def _fields(name: str, facts: dict[str, Any], *needed: str, **optional: str) -> dict[str, str]:
    for key, value in facts.items():
        if key not in needed and key not in optional:
            raise _refused(f"{name} has a field {key!r:.40} that is not known")
        if not isinstance(value, str) or len(value) > limits.MRL_MAX_CHARS or not value.isprintable():
            raise _refused(f"{name}, {key}: expected a text of one line")
    missing = [key for key in needed if not facts.get(key)]
    if missing:
        raise _refused(f"{name} lacks {', '.join(missing)}")
    return {**optional, **facts}


def _base(name: str, key: str, address: str) -> str:
    parts = urlsplit(address)
    if (
        parts.scheme not in ("http", "https")
        or not parts.netloc
        or parts.query
        or parts.fragment
        or "@" in parts.netloc
    ):
        raise _refused(f"{name}, {key}: expected an http(s) address without query and user")
    return address.rstrip("/") + "/"


def _http(name: str, facts: dict[str, Any]) -> Store:
    fields = _fields(name, facts, "base", query="")
    return Folder(_base(name, "base", fields["base"]), fields["query"].lstrip("?"))


def _azure(name: str, facts: dict[str, Any]) -> Store:
    """A Data Lake's files are blobs, too, under the other host."""
    fields = _fields(name, facts, "container", sas="", prefix="")
    base = _base(name, "container", fields["container"]).replace(".dfs.core.", ".blob.core.", 1)
    return Folder(base + _prefix(name, fields["prefix"]), fields["sas"].lstrip("?"))


def _s3(name: str, facts: dict[str, Any]) -> Store:
    fields = _fields(
        name, facts, "endpoint", "bucket", "access_key", "secret_key", region="us-east-1", prefix="", session_token=""
    )
    if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{1,62}", fields["bucket"]) is None:
        raise _refused(f"{name}, bucket: expected a bucket's name")
    endpoint = _base(name, "endpoint", fields["endpoint"]).rstrip("/")
    if urlsplit(endpoint).path:
        raise _refused(f"{name}, endpoint: expected an address without a path")
    return Bucket(**{**fields, "endpoint": endpoint, "prefix": _decoded_prefix(name, fields["prefix"])})


def _decoded_prefix(name: str, prefix: str) -> str:
    if not prefix:
        return ""
    parts = prefix.strip("/").split("/")
    if any(part in ("", ".", "..") for part in parts):
        raise _refused(f"{name}, prefix: expected a folder")
    return "/".join(parts) + "/"


def _prefix(name: str, prefix: str) -> str:
    return _encoded(_decoded_prefix(name, prefix))
