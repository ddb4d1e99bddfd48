"""What is taken out of rows and logs, and what is left alone (L-17)."""

import time
from urllib.parse import quote

import pytest
from cgn_sdk.protocol.redaction import REDACTED, is_secret_name, redact_headers, redact_text

SECRET = "S3cret.Value-1"
API_KEY = "cgn_abcdefghijkl_" + "A" * 43
SESSION_KEY = "cgs_" + "B" * 43
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJlLWJ5dGVz"

PARAMETERS = [
    "X-Amz-Signature",
    "X-Amz-Credential",
    "X-Amz-Security-Token",
    "X-Goog-Signature",
    "X-Goog-Credential",
    "AWSAccessKeyId",
    "Signature",
    "sig",
    "token",
    "access_token",
    "refresh_token",
    "id_token",
    "key",
    "api_key",
    "apikey",
    "api-key",
    "client_secret",
    "password",
    "passwd",
    "pwd",
    "sas",
    "auth",
    "session",
    "session_id",
    "sid",
    "hmac",
    "Key-Pair-Signature",
    "subscription-key",
    "AccountKey",
    "SharedAccessKey",
    "some_key",
    "some-key",
    "PHPSESSID",
    "JSESSIONID",
    "sess_id",
    "connect.sid",
    "otp",
]


@pytest.mark.parametrize("name", PARAMETERS)
def test_parameters_by_their_names(name: str) -> None:
    assert redact_text(f"/mgen?w=1&{name}={SECRET}&h=2") == f"/mgen?w=1&{name}={REDACTED}&h=2"
    assert redact_text(f"/mgen?{name.upper()}={SECRET}") == f"/mgen?{name.upper()}={REDACTED}"
    assert is_secret_name(name)


@pytest.mark.parametrize("depth", [1, 2, 3, 4])
def test_a_signed_address_inside_an_address(depth: int) -> None:
    """As MediaGen is told where a picture is: percent-encoded once for each level."""
    inner = f"https://bucket.example/a.png?X-Amz-Expires=60&X-Amz-Signature={SECRET}&x=y"
    for _ in range(depth):
        inner = f"https://h.example/p?src={quote(inner, safe='')}&w=3"
    redacted = redact_text(inner)
    assert redacted == inner.replace(SECRET, REDACTED)


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        ("/a?src=https://user:pass@h/p&w=1", "/a?src=https://redacted@h/p&w=1"),
        ("/a?src=https%3A%2F%2Fuser%3Apass%40h%2Fp&w=1", "/a?src=https%3A%2F%2Fredacted%40h%2Fp&w=1"),
        ("https://ghp_token@github.example/x.git", "https://redacted@github.example/x.git"),
        ("postgres://u:p@ss@h/db", "postgres://redacted@h/db"),
        ('/a?s={"token":"abc","w":1}', '/a?s={"token":"redacted","w":1}'),
        ("/a?s=%7B%22token%22%3A%22abc%22%2C%22w%22%3A1%7D", "/a?s=%7B%22token%22%3A%22redacted%22%2C%22w%22%3A1%7D"),
        ("/a?s={password: 'abc', w: 1}", "/a?s={password: 'redacted', w: 1}"),
        ('{"a":"{\\"token\\":\\"abc\\"}"}', '{"a":"{\\"token\\":\\"redacted\\"}"}'),
        ("/a?token=ab%26cd&w=1", "/a?token=redacted&w=1"),
        ("/a?sig=ab%2Fc%3D%3D#part", "/a?sig=redacted#part"),
        ("/a?token=", "/a?token=redacted"),
        ("/a?X%2DAmz%2DSignature=abc", "/a?X%2DAmz%2DSignature=redacted"),
        ("/a?%74oken=abc&w=1", "/a?%74oken=redacted&w=1"),
        ("/a?token[]=abc&user[password]=def", "/a?token[]=redacted&user[password]=redacted"),
        ("/a?token%5B%5D=abc&user%5Bpassword%5D=def", "/a?token%5B%5D=redacted&user%5Bpassword%5D=redacted"),
        (f"/a?x={API_KEY}&y=1", "/a?x=redacted&y=1"),
        (f"key {SESSION_KEY} was shown", "key redacted was shown"),
        (f"/a?x={JWT}", "/a?x=redacted"),
        ("GET failed for https://h/?token=abc in time", "GET failed for https://h/?token=redacted in time"),
        ("Bearer abcdef", "Bearer redacted"),
        ("basic dXNlcjpwYXNz", "basic redacted"),
        ("/a?x=Basic+dXNlcjpwYXNz&w=1", "/a?x=Basic+redacted&w=1"),
        ("/a?h=Authorization%3A+Bearer+abcdef&w=1", "/a?h=Authorization%3A+Bearer+redacted&w=1"),
        ("/a?h=Authorization%3A%20Bearer%20abcdef", "/a?h=Authorization%3A%20Bearer%20redacted"),
        ("auth=Bearer abcdef done", "auth=redacted done"),
        ('/a?s=token="abc"&w=1', '/a?s=token="redacted"&w=1'),
        ("/a?s=token%3D%22abc%22%3Bx&w=1", "/a?s=token%3D%22redacted%22%3Bx&w=1"),
        ("token='a\"b c&d' x", "token='redacted' x"),
        ('token="a\\"b" x', 'token="redacted" x'),
        ('token="abc&w=1', 'token="redacted'),
        ('var token = "a b"; x', 'var token = "redacted"; x'),
        ("/a?s=var+token+%3D+%22a+b%22&w=1", "/a?s=var+token+%3D+%22redacted%22&w=1"),
        ("'password' => 'abc', 1", "'password' => 'redacted', 1"),
        ('o["password"]="abc";', 'o["password"]="redacted";'),
        ("token == abc x", "token == redacted x"),
        ("{password: `abc`}", "{password: `redacted`}"),
        ('{"password":["abc"],"w":1}', '{"password":redacted'),
        ('{"password":{"v":"abc"}}', '{"password":redacted'),
        ('password=["abc"]', "password=redacted"),
        ("/a?j=%7B%22password%22%3A%5B%22abc%22%5D%7D", "/a?j=%7B%22password%22%3Aredacted"),
        ('{"password":1234567,"w":1}', '{"password":redacted,"w":1}'),
        ("password=<abc>", "password=redacted>"),
        ("/a?src=//user:pass@h/p", "/a?src=//redacted@h/p"),
        ("/a?src=%2F%2Fuser%3Apass%40h%2Fp&w=1", "/a?src=%2F%2Fredacted%40h%2Fp&w=1"),
        ("https:\\\\user:pass@h", "https:\\\\redacted@h"),
        ("/a?token=redactedabc", "/a?token=redacted"),
        ("/a?token%00=abc", "/a?token%00=redacted"),
        ("/a?%EF%BD%94oken=abc", "/a?%EF%BD%94oken=redacted"),
    ],
)
def test_other_forms(text: str, redacted: str) -> None:
    assert redact_text(text) == redacted
    assert redact_text(redacted) == redacted


@pytest.mark.parametrize(
    "text",
    [
        "",
        "/noop/10",
        "/key/side/token",
        "/mgen?src=https%3A%2F%2Fexample.com%2Fpic.jpg&w=3&fit=cover",
        "/a?monkey=1&keyboard=us&passage=2&tokyo=3&design=4",
        "/a?at=12:30:45&mail=a@b.example",
        "/a?keys=3&turkey=4&assessmentId=5&possessionId=6&basics=7",
        '{"w":1,"at":"12:30","list":["a","b"]}',
        "rows = 3, at == 4, a => b",
        "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko)",
        "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8",
        "%",
        "/a?x=%zz%25",
    ],
)
def test_what_is_no_secret_stays_as_it_is(text: str) -> None:
    assert redact_text(text) == text


def test_what_hides_itself_takes_the_query_along() -> None:
    """Encoded deeper than a URL's levels are looked at: the path stays, the query goes."""
    hidden = f"token={SECRET}"
    for _ in range(7):
        hidden = quote(hidden, safe="").replace("t", "%74")
    assert redact_text(f"/a/b?x={hidden}") == f"/a/b?{REDACTED}"
    assert redact_text(f"/a/{hidden}?x=1") == REDACTED


def test_header_fields() -> None:
    sent = [
        ("Authorization", "Bearer x"),
        ("proxy-authorization", "Basic x"),
        ("Cookie", "a=b"),
        ("X-Api-Key", "x"),
        ("X-My-Secret-Thing", "x"),
        ("X-Auth-Key", "x"),
        ("Ocp-Apim-Subscription-Key", "x"),
        ("x-functions-key", "x"),
        ("DPoP", "x"),
        ("DD-APPLICATION-KEY", "x"),
        ("X-Session", "x"),
        ("someKey", "x"),
        ("X-Keys", "x"),
        ("X-Goog-Iap-Jwt-Assertion", JWT),
        ("Referer", "https://h/?token=x&a=b"),
        ("X-Patient", "x"),
        ("Accept", "image/webp,*/*;q=0.8"),
    ]
    assert dict(redact_headers(sent, {"x-patient"})) == {
        "Authorization": REDACTED,
        "proxy-authorization": REDACTED,
        "Cookie": REDACTED,
        "X-Api-Key": REDACTED,
        "X-My-Secret-Thing": REDACTED,
        "X-Auth-Key": REDACTED,
        "Ocp-Apim-Subscription-Key": REDACTED,
        "x-functions-key": REDACTED,
        "DPoP": REDACTED,
        "DD-APPLICATION-KEY": REDACTED,
        "X-Session": REDACTED,
        "someKey": REDACTED,
        "X-Keys": "x",
        "X-Goog-Iap-Jwt-Assertion": REDACTED,
        "Referer": "https://h/?token=redacted&a=b",
        "X-Patient": REDACTED,
        "Accept": "image/webp,*/*;q=0.8",
    }


def test_what_an_account_lists_is_taken_out_of_urls_too() -> None:
    assert redact_text("/a?patient=x&w=1", {"patient"}) == "/a?patient=redacted&w=1"
    assert redact_text("/a?patient=x&w=1") == "/a?patient=x&w=1"


@pytest.mark.parametrize(
    "text",
    [
        "a" * 8_000 + "=token=",
        "token=" * 1_300,
        "a=b&" * 2_000 + "token=x",
        "%25" * 2_600 + "token=",
        " :" * 4_000 + "token=",
        "://" * 2_600 + "@token=",
        '"' * 8_000 + "token=",
        "\\" * 8_000 + "token=",
        " " * 8_000 + "token=",
        "token" * 1_600 + ":",
        ("://" + "a" * 50) * 150 + "token=x",
        "eyJ" * 2_600,
        "eyJ" + "a" * 8_000,
        "/\\" * 4_000 + "@token=x",
        "= " * 4_000 + 'token="x',
        "=%20" * 2_000 + 'token="x',
        'token="' + '\\"' * 4_000,
        '"key":1,' * 1_000,
        "token = 'x' " * 660,
        "bearer+" * 1_100,
        "basic%20%20" * 800,
        "%22a%22%3A%22b%22%2C" * 380 + "token%3Dx",
        ("sess" * 49 + "=") * 40,
    ],
)
def test_no_text_of_a_stranger_costs_much(text: str) -> None:
    """Twice the text, about twice the time: quadratic work on 8 KiB would be seconds. CPU time, the least of three."""

    def cpu_s(given: str) -> float:
        spent = []
        for _ in range(3):
            began = time.process_time()
            redact_text(given)
            spent.append(time.process_time() - began)
        return min(spent)

    assert cpu_s(text * 2) < 8 * cpu_s(text) + 0.05
