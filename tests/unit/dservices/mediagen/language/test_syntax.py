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
    "#!shebang @\nvar a;",
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
        ("\n\nf('x", 3, 3),
        ("f(`x", 1, 3),
        ("/* x", 1, 1),
        ("x = /ab", 1, 5),
        ("f(1", 1, 2),
        ("f]", 1, 2),
        ("(]", 1, 2),
        ("#link <evil.so>", 1, 1),
        ("#include path", 1, 1),
        ("var a;\n  #include 'x.ms'", 2, 3),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_place(source: str, line: int, column: int) -> None:
    with pytest.raises(ScriptSyntax) as refusal:
        rewrite(source)
    assert (refusal.value.line, refusal.value.column) == (line, column)


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
    try:
        rewritten = rewrite(text)
    except ScriptSyntax:
        return
    if "@" not in text and "#" not in text:
        assert rewritten.code == text
