"""Named stores (G-13): what a document may say, and the addresses that come of it."""

import datetime
import json
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import presigned
import pytest
from cgn_sdk.dservice.problems import Problem

from dservices.mediagen import limits
from dservices.mediagen.front import stores

S3 = {"type": "s3", "endpoint": "https://s3.example", "bucket": "pictures", "access_key": "AK", "secret_key": "SK"}
NOW_S = 1_369_353_600.0  # 2013-05-24T00:00:00Z


def document(**named: Any) -> bytes:
    return json.dumps({"stores": named}).encode()


def resolved(name: str, method: str = "GET", **named: Any) -> str:
    made = stores.read(document(**named))
    made._clock = lambda: NOW_S
    return made.resolved(method, name)


def test_what_a_signed_address_says() -> None:
    made = resolved("st:a b/ü+&=.txt", st=S3)
    fields = dict(parse_qsl(urlsplit(made).query))
    assert fields["X-Amz-Credential"] == "AK/20130524/us-east-1/s3/aws4_request"
    assert (fields["X-Amz-Date"], fields["X-Amz-Expires"]) == ("20130524T000000Z", "300")
    assert urlsplit(made).path == "/pictures/a%20b/%C3%BC%2B%26%3D.txt"


@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_an_s3_signature_is_that_of_another_implementation(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made = resolved("st:folder/cat.jpg", method, st={**S3, "prefix": "/2026/", "region": "eu-central-1"})

    class Fixed(datetime.datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime.datetime:
            return datetime.datetime.fromtimestamp(NOW_S, tz)

    monkeypatch.setattr(presigned.datetime, "datetime", Fixed)
    plain = "https://s3.example/pictures/2026/folder/cat.jpg"
    assert made == presigned.s3(method, plain, "AK", "SK", expires_s=300, region="eu-central-1")


def test_folders_and_containers() -> None:
    http = {"type": "http", "base": "https://www.example.org/pics", "query": "token=x%20y"}
    assert resolved("st:a b/c.png", st=http) == "https://www.example.org/pics/a%20b/c.png?token=x%20y"
    azure = {
        "type": "azure",
        "container": "https://acct.blob.core.windows.net/media/",
        "sas": "?sv=1&sig=a%2Fb%3D",
        "prefix": "in",
    }
    assert (
        resolved("st:c.png", "PUT", st=azure) == "https://acct.blob.core.windows.net/media/in/c.png?sv=1&sig=a%2Fb%3D"
    )
    lake = {"type": "datalake", "container": "https://acct.dfs.core.windows.net/lake", "sas": "sv=1"}
    assert resolved("st:c.png", st=lake) == "https://acct.blob.core.windows.net/lake/c.png?sv=1"


def test_other_names_are_left_alone() -> None:
    for name in ("https://x.example/st:y", "mem:/a", "other:thing", "plain.png"):
        assert resolved(name, st=S3) == name


@pytest.mark.parametrize("path", ["", "/", "a//b", "../up", "a/../b", "./a", "a/.", "a/"])
def test_a_path_cannot_leave_its_store(path: str) -> None:
    with pytest.raises(Problem) as caught:
        resolved("st:" + path, st=S3)
    assert (caught.value.status, caught.value.code) == (422, "bad_parameter")
    assert "SK" not in caught.value.detail


@pytest.mark.parametrize(
    "bad",
    [
        b"", b"[]", b"{}", b'{"stores": []}', b"\xff", b"[" * 100_000,
        document(st=7), document(st={}), document(st={"type": "ftp"}), document(st={**S3, "bucket": ""}),
        document(st={**S3, "more": "x"}), document(st={**S3, "secret_key": 7}), document(st={**S3, "secret_key": "a\nb"}),
        document(st={**S3, "bucket": "a/../b"}), document(st={**S3, "endpoint": "ftp://x"}), document(st={**S3, "prefix": "a/../b"}),
        document(st={**S3, "endpoint": "https://s3.example/path"}), document(st={"type": "http", "base": "https://user@x.example/"}),
        document(st={"type": "http", "base": "https://x.example/?q=1"}), document(st={"type": "http", "base": "file:///etc"}),
        document(**{"MEM": S3}), document(**{"mem": S3}), document(**{"x": S3}), document(**{"http": S3}), document(**{"a:b": S3}),
        document(**{f"store-{n}": S3 for n in range(limits.STORES_MAX + 1)}),
    ],
)  # fmt: skip
def test_a_document_that_is_none_is_refused_without_repeating_it(bad: bytes) -> None:
    with pytest.raises(Problem) as caught:
        stores.read(bad)
    assert (caught.value.status, caught.value.code) == (422, "bad_stores")
    assert "SK" not in caught.value.detail and "user@" not in caught.value.detail


def test_stores_of_two_documents() -> None:
    both = stores.read(document(aa=S3, bb=S3)).with_(
        stores.read(document(bb={"type": "http", "base": "https://x.example"}))
    )
    assert both.names == ["aa", "bb"]
    assert both.resolved("GET", "bb:y") == "https://x.example/y"
