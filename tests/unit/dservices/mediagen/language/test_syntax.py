"""The rewrite of named arguments and directives (G-3; mediascript.md 1.2, 1.3)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dservices.mediagen.language.syntax import ScriptSyntax, rewrite

SAME = [
    "var a = 'x @ y', b = \"@\", c = `@ ${1 + 2} @`;",
    "// f(a @ 1)\n/* f(b @ 2)\n@ */ var x;",
    "var r = /@/, s = /[/@]/g, t = a / b / c;",
    "if (x) /@/.test(y); while (z) /@\\//.exec(q);",
    "x = (a) / 2; y = b[1] / 3; z = i++ / 4;",
    "var o = {a: 1} / 2;\nfunction f() { return /@/ }",
    "class A { #p = 1; get p() { return this.#p } }",
    "`a${ {b: `c${'}'}`}.b }d`",
    "a?.b ? .5 : 1.e3; 0x1F; 1_000n;",
    "label: for (;;) { break label }",
]


@pytest.mark.parametrize("source", SAME)
def test_what_is_no_named_argument_stays(source: str) -> None:
    assert rewrite(source).code == source


@pytest.mark.parametrize(
    ("source", "code"),
    [
        ("f(a @ 1)", 'f(__named("a" , 1))'),
        ("f(a@1,b@2)", 'f(__named("a",1,"b",2))'),
        ("f(a @ g(b @ 1), c @ (2, 3))", 'f(__named("a" , g(__named("b" , 1)), "c" , (2, 3)))'),
        ("x.y['z'](a @ [1, 2], b @ {c: 3, d: 4})", 'x.y[\'z\'](__named("a" , [1, 2], "b" , {c: 3, d: 4}))'),
        ("f(a @ x ? y : z)", 'f(__named("a" , x ? y : z))'),
        ("f(a @ function (p, q) { return p / q })", 'f(__named("a" , function (p, q) { return p / q }))'),
        ("f(a @ (p, q) => p)", 'f(__named("a" , (p, q) => p))'),
        ("f(a @ '@', b @ /@/)", 'f(__named("a" , \'@\', "b" , /@/))'),
        ("f(a @ `@${g(b @ 1)}`)", 'f(__named("a" , `@${g(__named("b" , 1))}`))'),
        ("f(\n a @ 1,\n b @ 2\n)", 'f(__named(\n "a" , 1,\n "b" , 2\n))'),
        ("f(a @ 1,)", 'f(__named("a" , 1,))'),
        ("new Media().load(name @ 'x')", "new Media().load(__named(\"name\" , 'x'))"),
        ("f(ä @ 1)", 'f(__named("ä" , 1))'),
    ],
)
def test_named_arguments_become_one_tagged_argument(source: str, code: str) -> None:
    assert rewrite(source).code == code


@pytest.mark.parametrize(
    ("source", "line", "column"),
    [
        ("a @ b", 1, 3),
        ("f(1 @ 2)", 1, 5),
        ("f(a.b @ 1)", 1, 7),
        ("f(a, b @ 1)", 1, 6),
        ("f(a @ 1, b)", 1, 2),
        ("f(a @ )", 1, 7),
        ("f(a @ @ 1)", 1, 7),
        ("(a @ 1)", 1, 4),
        ("if (a @ 1) {}", 1, 7),
        ("f((a @ 1))", 1, 6),
        ("[a @ 1]", 1, 4),
        ("f(a @ 'x\n')", 1, 7),
        ("f(a @ g(", 1, 8),
        ("f(a @ 1]", 1, 8),
        ("f('\U0001f600', b @ 1)", 1, 9),
        ("#link <evil.so>", 1, 1),
        ("#include path", 1, 1),
        ("var a;\n  #include 'x.ms'", 2, 3),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_place(source: str, line: int, column: int) -> None:
    with pytest.raises(ScriptSyntax) as refusal:
        rewrite(source)
    assert (refusal.value.line, refusal.value.column) == (line, column)


@pytest.mark.parametrize("source", ["\n\nf('x", "f(`x", "/* x", "x = /ab", "f(1", "f]", "(]", "f(`@", "f('@\n')"])
def test_what_is_no_ecmascript_is_left_to_v8(source: str) -> None:
    assert rewrite(source).code == source


def test_a_first_line_for_a_shell_becomes_a_comment() -> None:
    """So that a file may begin with it that is included by another."""
    assert rewrite("#!shebang @\nf(a @ 1)").code == '//shebang @\nf(__named("a" , 1))'


def test_directives_are_taken_out_and_lines_stay() -> None:
    """Reference 1.3: a trailing semicolon is tolerated, a backslash continues, #link of known libraries does nothing."""
    source = '#include "sys:xml.ms";\n#link <Database.dll>\n#include \\\n"lib/a.ms"\nvar x = 1;\nvar s = `\n#include "no"\n`;'
    rewritten = rewrite(source)
    assert [(d.kind, d.value, d.line) for d in rewritten.directives] == [
        ("include", "sys:xml.ms", 1),
        ("link", "Database.dll", 2),
        ("include", "lib/a.ms", 3),
    ]
    assert rewritten.code.count("\n") == source.count("\n")
    assert rewritten.code.split("\n")[4] == "var x = 1;"


def test_columns_lead_back_to_the_script() -> None:
    source = "m.f(aa @ 1, bb @ nope)"
    rewritten = rewrite(source)
    assert rewritten.original(1, rewritten.code.index("nope") + 1) == source.index("nope") + 1
    assert rewritten.original(1, 1) == 1
    assert rewritten.original(7, 5) == 5


@given(st.text("f(a@1,)[]{}'\"`/\\#$ \n;*!", max_size=60))
def test_any_text_is_rewritten_or_refused(text: str) -> None:
    try:
        rewritten = rewrite(text)
    except ScriptSyntax as refusal:
        place = (refusal.line, refusal.column)
    else:
        place = (1, 1)
        assert rewritten.code.count("\n") == text.count("\n")
    assert min(place) >= 1


@given(st.text(max_size=80))
def test_text_without_at_signs_and_directives_is_left_alone(text: str) -> None:
    """V8 alone judges it: nothing here may refuse it."""
    if "@" not in text and "#" not in text:
        assert rewrite(text).code == text


def joined(parts: list[tuple[str, str]], between: str) -> tuple[str, str]:
    return between.join(source for source, _ in parts), between.join(code for _, code in parts)


def wrapped(form: str, *holes: st.SearchStrategy[tuple[str, str]]) -> st.SearchStrategy[tuple[str, str]]:
    """`form` with each `_` filled in, in both writings."""

    def fill(found: tuple[tuple[str, str], ...]) -> tuple[str, str]:
        pieces = form.split("_")
        source, code = pieces[0], pieces[0]
        for piece, (one, other) in zip(pieces[1:], found, strict=True):
            source, code = source + one + piece, code + other + piece
        return source, code

    return st.tuples(*holes).map(fill)


LEAVES = ["8", "/'/", "/[/@]/g", "'@'", '"it\'s@"', "`@'${1}`", "x", "o.if", "({})", "[]", "/*'@*/9", "a\\u0062"]
NAMES = st.sampled_from(["a", "if", "of", "await", "type", "\u00e4", "$_1", "function"])
EXPRESSIONS = st.recursive(
    st.sampled_from(LEAVES).map(lambda text: (text, text)),
    lambda inner: st.one_of(
        wrapped("(_) / 2", inner),
        wrapped("_ / _", inner, inner),
        wrapped("f(_, _)", inner, inner),
        wrapped("function () { return _ } / 2", inner),
        wrapped("(async x => { await _; })", inner),
        wrapped("((x, y = _) => x / y)", inner),
        wrapped("`'${_}/`", inner),
        wrapped("{ if() { return _ }, b: _, c: 8 / 2 }.b", inner, inner).map(
            lambda pair: (f"({pair[0]})", f"({pair[1]})")
        ),
        wrapped("class { #include = _; static { x = _ } if() { return _ } }", inner, inner, inner),
        wrapped("(_ ? _ : _)", inner, inner, inner),
        st.lists(st.tuples(NAMES, inner), min_size=1, max_size=3).map(
            lambda pairs: (
                "o.if(" + ", ".join(f"{name} @ {one}" for name, (one, _) in pairs) + ") / 2",
                "o.if(__named(" + ", ".join(f'"{name}" , {other}' for name, (_, other) in pairs) + ")) / 2",
            )
        ),
    ),
    max_leaves=8,
)
STATEMENTS = st.one_of(
    *(
        wrapped(form, EXPRESSIONS)
        for form in (
            "x = _;",
            "if (1) /'/.test('@'); else {} /\"/.test(_)",
            "switch (1) { case _: {} /'/.exec(x); default: x / 2 }",
            "label: for (var of of _) { continue label\n/'/ }",
            "function* f() { yield /'/; yield _ } /`/.test(x)",
            "x = 1\n--> it's @\nx = _",
            "var yield = 8; yield / 2; x = _",
            "return\n{} /'/.test(_)",
        )
    )
)


@given(st.lists(STATEMENTS, max_size=4).map(lambda parts: joined(parts, "\n")))
def test_nothing_but_named_arguments_is_changed(both: tuple[str, str]) -> None:
    source, code = both
    assert rewrite(source).code == code
