"""Valid ECMAScript is V8's to judge (G-1, G-3): a table of programs that are easily misread gives through MediaGen what it
gives in V8 alone, and so it does where the script uses `@`, which ECMAScript does not have."""

import re

import pytest
from py_mini_racer import JSEvalException, MiniRacer
from syntax_cases import INVALID, VALID

ANSWER = "\nfunction main() { resp.setObject(new TextResponse(String(out)), RespType.Streamed); }"
NAMED = (
    "\nvar canvas = new Media(); canvas.makeCanvas(xs @ 3, ys @ (4 / 2)); if (canvas.getWidth() / 3 !== 1) throw '/';"
)
DIRECTIVE = '\n#link "zip.dll"'


def alone(program: str) -> str:
    """What V8 says by itself. The line is its own count."""
    program = program.removeprefix("\ufeff")
    return str(MiniRacer().eval(f"{program}\n;String(out)"))


def refusal(program: str) -> tuple[str, int]:
    with pytest.raises(JSEvalException) as caught:
        MiniRacer().eval(program.removeprefix("\ufeff"))
    match = re.match(r"[^:]*:(\d+): (.*)", str(caught.value))
    assert match is not None, str(caught.value)
    return match[2], int(match[1])


def test_the_table_is_large():
    assert len(set(VALID)) + len(set(INVALID)) >= 200
    assert len(set(VALID)) == len(VALID)


@pytest.mark.parametrize("program", VALID)
def test_a_valid_program_gives_what_it_gives_in_v8_alone(bench, program):
    expected = alone(program)
    assert bench.body(program + ANSWER).decode() == expected
    assert bench.body(program + NAMED + ANSWER).decode() == expected, "with named arguments behind"
    if not program.startswith(("#!", "\ufeff", "'use strict'", "-->", "/* a */ -->")):
        assert bench.body(NAMED + "\n" + program + ANSWER).decode() == expected, "with named arguments before"
        assert bench.body(DIRECTIVE + "\n" + program + ANSWER).decode() == expected, "with a directive"


@pytest.mark.parametrize("program", INVALID)
def test_what_is_no_program_is_refused_as_v8_refuses_it(bench, program):
    message, line = refusal(program + ANSWER)
    problem = bench.problem(program + ANSWER)
    assert problem.code in ("script_syntax", "script_failed")
    assert message.removeprefix("SyntaxError: ") in problem.detail
    assert problem.facts["line"] == line
    assert bench.problem(program + NAMED + ANSWER).code == problem.code


def test_a_sentence_of_v8_has_its_column_in_utf16_units(bench):
    problem = bench.problem("function main() { var s = '\U0001f600'; nope(); }")
    assert (problem.facts["line"], problem.facts["column"]) == (1, 33)


def test_ours_have_the_same_unit(bench):
    problem = bench.problem("function main() { var s = '\U0001f600'; (a @ 1); }")
    assert (problem.facts["line"], problem.facts["column"]) == (1, 36)


def test_a_byte_order_mark_moves_no_column(bench):
    for script in ("function main() { nope(); }", "f(@); function main() { }"):
        with_mark, without = bench.problem("\ufeff" + script), bench.problem(script)
        assert with_mark.facts["column"] == without.facts["column"] is not None


def test_lines_are_v8s_where_a_string_holds_a_line_separator(bench):
    problem = bench.problem("var a = '\u2028';\nfunction main() { nope(x @ 1); }")
    assert (problem.facts["line"], problem.facts["column"]) == (3, 19)


def test_an_error_of_two_lines_keeps_its_place(bench):
    problem = bench.problem("var s = 1;\nthrow new Error('first\\nsecond');\nfunction main() { }")
    assert (problem.facts["line"], problem.facts["column"]) == (2, 1)
