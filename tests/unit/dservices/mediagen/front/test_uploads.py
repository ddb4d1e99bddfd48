"""A form's files and fields (G-4; mediascript.md 2.2, 2.3; RFC 7578)."""

import pytest
from cgn_sdk.dservice.problems import Problem
from hypothesis import given
from hypothesis import strategies as st

from dservices.mediagen import limits
from dservices.mediagen.front.uploads import taken_apart

FORM = "multipart/form-data; boundary=edge"


def form(*parts: tuple[str, bytes], edge: str = "edge") -> bytes:
    whole = b"".join(f"--{edge}\r\n{head}\r\n\r\n".encode() + content + b"\r\n" for head, content in parts)
    return whole + f"--{edge}--\r\n".encode()


def file(name: str, content: bytes) -> tuple[str, bytes]:
    return f'Content-Disposition: form-data; name="{name}"; filename="x.png"\r\nContent-Type: image/png', content


def entry(name: str, content: bytes) -> tuple[str, bytes]:
    return f'Content-Disposition: form-data; name="{name}"', content


def test_files_and_fields_come_apart():
    made = taken_apart(FORM, form(file("one", b"\r\n--edg\0"), entry("size", "ä".encode()), file("two", b"")))
    assert (made.files, made.fields, made.data) == ([("one", 8), ("two", 0)], {"size": "ä"}, b"\r\n--edg\0")


def test_any_other_body_is_one_file():
    for kind in ("", "image/png", "application/x-www-form-urlencoded", "multipart/mixed; boundary=edge"):
        assert taken_apart(kind, b"bytes").files == [("body", 5)]
        assert taken_apart(kind, b"").files == []


@pytest.mark.parametrize(
    "kind",
    [
        FORM,
        'Multipart/Form-Data; boundary="edge"',
        "multipart/form-data; charset=utf-8; boundary=edge",
        "multipart/form-data;boundary=edge; charset=utf-8",
    ],
)
def test_the_boundary_is_read_as_it_may_be_written(kind):
    assert taken_apart(kind, b"preamble\r\n" + form(file("a", b"b")) + b"epilogue").files == [("a", 1)]


def test_quotes_in_a_name_are_unfolded():
    head = r'Content-Disposition: form-data; name="a \"b\""; filename=x'
    assert taken_apart(FORM, form((head, b"c"))).files == [('a "b"', 1)]


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("multipart/form-data", form(file("a", b""))),
        ("multipart/form-data; boundary=", form(file("a", b""))),
        (FORM, b""),
        (FORM, b"--edge"),
        (FORM, b"--edge\r\n"),
        (FORM, form(file("a", b"b"))[:-10]),
        (FORM, b"--edgeandmore\r\n\r\n\r\n--edge--"),
        (FORM, form(file("a", b""), file("a", b""))),
        (FORM, form(file("a", b""), entry("a", b""))),
        (FORM, form(("Content-Type: image/png", b""))),
        (FORM, form(("Content-Disposition: attachment; name=a", b""))),
        (FORM, form(file("", b""))),
        (FORM, form(file("a" * 101, b""))),
        (FORM, form(file("../a", b""))),
        (FORM, form(file("..", b""))),
        (FORM, form(file("a\0", b""))),
        (FORM, form(("Content-Disposition: form-data; name=a\r\nContent-Transfer-Encoding: base64", b""))),
        (FORM, form((f"Content-Disposition: form-data; name=a\r\nX: {'x' * limits.FORM_HEAD_MAX_BYTES}", b""))),
        (FORM, form(entry("a", b"x" * (limits.MRL_MAX_CHARS + 1)))),
        (FORM, form(*(file(f"f{n}", b"") for n in range(limits.FORM_PARTS_MAX + 1)))),
    ],
)
def test_what_is_no_form_is_refused_in_words(kind, body):
    with pytest.raises(Problem) as refused:
        taken_apart(kind, body)
    assert (refused.value.status, refused.value.code) == (422, "bad_form")
    assert refused.value.facts["expected"]


@given(st.lists(st.binary(max_size=60).filter(lambda content: b"\r\n--edge" not in content), max_size=5))
def test_contents_come_back_as_they_were(contents):
    made = taken_apart(FORM, form(*(file(f"f{n}", content) for n, content in enumerate(contents))))
    assert [size for _, size in made.files] == [len(content) for content in contents]
    assert made.data == b"".join(contents)


@given(st.text('-edge\r\n: ;="\\formdatanmifle', max_size=200))
def test_any_body_is_read_or_refused(text):
    try:
        made = taken_apart(FORM, text.encode())
    except Problem as refused:
        assert refused.status == 422
    else:
        assert sum(size for _, size in made.files) == len(made.data)
