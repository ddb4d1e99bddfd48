"""A secret that is planted anywhere in a request's target is nowhere in what is kept of it (L-17)."""

from urllib.parse import quote, unquote

from cgn_sdk.protocol.redaction import redact_text
from hypothesis import given, settings
from hypothesis import strategies as st

SECRET = "Zq7PLANTEDqZ"
TELLING = st.sampled_from(
    [
        "token",
        "key",
        "sig",
        "X-Amz-Signature",
        "x-amz-security-token",
        "password",
        "api_key",
        "subscription-key",
        "AccountKey",
        "PHPSESSID",
    ]
)
SPACE = st.sampled_from(["", " ", "  "])
PLAIN_NAMES = st.sampled_from(["w", "h", "src", "fit", "layer.1", "X-Amz-Date", "q"])
PLAIN_VALUES = st.text(st.characters(codec="ascii", exclude_categories=["Cc"]), max_size=12).filter(
    lambda text: "@" not in text
)
PAIRS = st.lists(st.tuples(PLAIN_NAMES, PLAIN_VALUES.map(lambda text: quote(text, safe=""))), max_size=3)


@st.composite
def secrets(draw: st.DrawFn) -> str:
    """A piece of a query that holds the secret, in one of the forms that the list names."""
    before, after = draw(st.text("abc/+=%.-", max_size=4)), draw(st.text("abc/+=%.-", max_size=4))
    value = quote(before + SECRET + after, safe="")
    quoted = draw(st.sampled_from(list("\"'`")))
    free = st.text("ab &#,;:=]}[{<>\"'`", max_size=6).map(lambda text: text.replace(quoted, ""))
    inside = draw(free) + SECRET + draw(free)
    safe = draw(st.sampled_from(["", "\"'`", '{}[]":,= ']))
    plus = draw(st.booleans())

    def encoded(text: str) -> str:
        text = quote(text, safe=safe)
        return text.replace("%20", "+") if plus else text

    match draw(st.sampled_from(["pair", "json", "user", "assigned", "list", "header", "relative"])):
        case "assigned":
            sign = draw(SPACE) + draw(st.sampled_from(["=", "==", "=>", ":="])) + draw(SPACE)
            return "s=" + encoded(f"let {draw(TELLING)}{sign}{quoted}{inside}{quoted}; go()")
        case "list":
            opening = draw(st.sampled_from(["[", '{"v":', "[[", '["a",']))
            return "j=" + encoded(f'{{"w":1,"{draw(TELLING)}"{draw(SPACE)}:{draw(SPACE)}{opening}"{inside}"')
        case "header":
            return "h=" + encoded(f"Authorization:{draw(SPACE)}{draw(st.sampled_from(['Bearer', 'basic']))} {SECRET}")
        case "relative":
            return "src=" + encoded(f"//{draw(st.sampled_from(['', 'user:']))}{SECRET}@h.example/p")
        case "pair":
            return f"{draw(TELLING)}={value}"
        case "json":
            return "s=" + quote(
                f'{{"w":1,"{draw(TELLING)}":"{value}","h":2}}', safe=draw(st.sampled_from(["", '{}":,']))
            )
        case _:
            return "src=" + quote(f"https://user:{value}@h.example/p", safe=draw(st.sampled_from(["", ":/@"])))


@st.composite
def targets(draw: st.DrawFn) -> str:
    query = draw(secrets())
    for _ in range(draw(st.integers(0, 5))):
        pairs = [f"{name}={value}" for name, value in draw(PAIRS)]
        pairs.insert(draw(st.integers(0, len(pairs))), query)
        url = draw(st.sampled_from(["https://h.example/p", "/mgen", "//h"])) + "?" + "&".join(pairs)
        query = f"{draw(PLAIN_NAMES)}={quote(url, safe=draw(st.sampled_from(['', '/', ':/'])))}"
    return "/mgen?" + query


@settings(max_examples=500)
@given(targets())
def test_a_planted_secret_is_gone_at_every_level_of_decoding(target: str) -> None:
    kept = redact_text(target)
    for _ in range(10):
        assert SECRET not in kept
        kept = unquote(kept)


@settings(max_examples=300)
@given(targets())
def test_what_was_taken_out_once_is_not_taken_out_again(target: str) -> None:
    kept = redact_text(target)
    assert redact_text(kept) == kept


@given(st.text(max_size=300))
def test_any_text_has_an_answer(text: str) -> None:
    redact_text(text)


@given(PAIRS)
def test_queries_without_telling_names_stay(pairs: list[tuple[str, str]]) -> None:
    """Unless a value looks like a secret of its own."""
    target = "/mgen?" + "&".join(f"{name}={value}" for name, value in pairs)
    decoded = target
    for _ in range(4):
        decoded = unquote(decoded)
    telling = ("key", "sig", "sas", "pwd", "pw", "pass", "auth", "jwt", "sid")
    if not any(word in decoded.lower() for word in telling):
        assert redact_text(target) == target
