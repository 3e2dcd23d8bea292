"""What `${…}` becomes, and what stays as it is."""

import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.spec.interpolate import LATER, closing_brace, replace, split_words
from orchestrator.spec.template import Ref, Template, written


def text_of(text: str, **variables: str) -> str:
    result = replace(text, variables)
    assert result.problems == []
    assert isinstance(result.value, str)
    return result.value


def problem_of(text: str, **variables: str) -> str:
    result = replace(text, variables)
    assert len(result.problems) == 1, result.problems
    return result.problems[0]


@pytest.mark.parametrize(
    ("text", "becomes"),
    [
        ("${A}", "a"),
        ("x${A}y${A}z", "xayaz"),
        ("$A", "$A"),
        ("$", "$"),
        ("a$", "a$"),
        ("$(A)", "$(A)"),
        ("$$", "$"),
        ("$$A", "$A"),
        ("$${A}", "${A}"),
        ("$$${A}", "$a"),
        ("$$$${A}", "$${A}"),
        ("{A}", "{A}"),
        ("}", "}"),
        ("${EMPTY}", ""),
        ("${EMPTY:-x}", ""),
        ("${EMPTY:?must be}", ""),
        ("${NONE:-}", ""),
        ("${NONE:-x:y}", "x:y"),
        ("${NONE:-x:-y}", "x:-y"),
        ("${NONE:-${A}}", "a"),
        ("${NONE:-${NEITHER:-${A}}}!", "a!"),
        ("${A:-${NONE}}", "a"),
        ('${NONE:-{"a": {"b": 1}}}', '{"a": {"b": 1}}'),
        ('${A:-{"a": 1}}', "a"),
        ("${NONE:-$${A}}", "${A}"),
        ("${A:-$${A}}", "a"),
        ("${NONE:-a$}", "a$"),
        ("${NONE:-\n}", "\n"),
    ],
)
def test_only_dollar_brace_is_replaced(text: str, becomes: str) -> None:
    assert text_of(text, A="a", EMPTY="") == becomes


@pytest.mark.parametrize("value", ["$", "$$", "${A}", "$${A}", "}", "a b", "'", '"', "\\", "é"])
def test_a_value_is_taken_as_it_is(value: str) -> None:
    assert text_of("<${A}>", A=value) == f"<{value}>"
    assert text_of("<${B:-${A}}>", A=value) == f"<{value}>"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "${A}",
            "${A} is set neither in the environment nor in the env_file; a default is ${A:-…}",
        ),
        ("${A:?give it}", "${A} is not set: give it"),
        ("${A:?}", "${A} is not set"),
        ("${PROT}", 'did you mean "${PORT}"?'),
        ("${HOMME}", 'did you mean "${HOME}"?'),
        ("${", "${ has no closing brace"),
        ("x${A", "${A has no closing brace"),
        ("${A:-{}", "${A:-{} has no closing brace"),
        ("${}", "${} cannot be read: there are ${NAME}, ${NAME:-default} and ${NAME:?message}"),
        ("${A B}", "${A B} cannot be read"),
        ("${A-b}", "${A-b} cannot be read"),
        ("${A:+b}", "${A:+b} cannot be read"),
        ("${1}", "${1} cannot be read"),
        ("${É}", "${É} cannot be read"),
        ("${service.db.url}", "${service.db.url} cannot be read"),
        ("${services.}", "${services.} cannot be read"),
        ("${" + "x " * 50 + "}", "${x x x x x x x x x x x x x x x x x x x… cannot be read"),
        ("${services.db.url:-x}", "${services.db.url} takes no default"),
        ("${secrets.a:?x}", "${secrets.a} takes no default"),
    ],
)
def test_what_cannot_be_replaced_is_told(text: str, said: str) -> None:
    assert said in problem_of(text, HOME="/h")


def test_defaults_in_defaults_have_an_end() -> None:
    text = "".join(f"${{A{n}:-" for n in range(30)) + "x" + "}" * 30
    assert problem_of(text) == "has defaults within defaults, too deep to be meant"


@pytest.mark.parametrize(
    "name",
    [
        "PORT",
        "PYTHON",
        "STATE_DIR",
        "secrets.a-b",
        "services.my-db.url",
        "services.db.log.group",
        "requires.file.dir",
    ],
)
def test_what_is_known_at_the_start_stays_a_reference(name: str) -> None:
    result = replace(f"<${{{name}}}>", {name: "not this", "PORT": "nor this"})
    assert result.value == Template(("<", Ref(tuple(name.split("."))), ">"))
    assert result.used == []


def test_ours_always_have_a_value_and_need_no_default() -> None:
    assert replace("${PYTHON:-python3}", {}).value == Template((Ref(("PYTHON",)),))


def test_a_bare_word_is_a_variable_like_any_other() -> None:
    assert text_of("${secrets}", secrets="x") == "x"


def test_a_reference_may_stand_in_a_default() -> None:
    assert replace("${URL:-http://${services.db.url}/}", {}).value == Template(
        ("http://", Ref(("services", "db", "url")), "/")
    )


def test_a_name_may_be_taken_from_those_that_wait() -> None:
    assert replace("${PORT}", {"PORT": "1"}, LATER - {"PORT"}).value == "1"


def test_the_variables_that_had_a_value_are_told() -> None:
    assert replace("${A}${B:-${C}}${D:-d}", {"A": "", "C": "c"}).used == ["A", "C"]


def test_every_problem_of_a_text_is_told() -> None:
    assert len(replace("${A}${B}${C:-${D}}", {}).problems) == 3


@given(st.text(alphabet="${}AB:-x", max_size=30))
def test_whatever_the_text_something_is_said_or_all_is_read(text: str) -> None:
    result = replace(text, {"A": "a"})
    if "${" not in text.replace("$$", ""):
        assert result.problems == []
        assert result.value == text.replace("$$", "$")


@given(st.text())
def test_a_text_that_is_written_is_read_back(text: str) -> None:
    assert text_of(written(text)) == text


parts = st.lists(
    st.one_of(
        st.text(alphabet=st.sampled_from("${}a.\\'\" é"), min_size=1),
        st.sampled_from([Ref(("PORT",)), Ref(("services", "a-b", "url"))]),
    ),
    max_size=6,
)


@given(parts)
def test_a_template_that_is_written_is_read_back(given_parts: list[str | Ref]) -> None:
    joined: list[str | Ref] = []
    for part in given_parts:
        if isinstance(part, str) and joined and isinstance(joined[-1], str):
            joined[-1] += part
        else:
            joined.append(part)
    template = Template(tuple(joined))
    assert replace(str(template), {}).template == template


# Words.


def words(text: str) -> list[str]:
    return split_words(text, shlex.split)


@pytest.mark.parametrize(
    ("text", "becomes"),
    [
        ("a b  c", ["a", "b", "c"]),
        ("a 'b c' \"d e\" f\\ g", ["a", "b c", "d e", "f g"]),
        ("a ''", ["a", ""]),
        ("--port=${PORT:-80 90}", ["--port=${PORT:-80 90}"]),
        ("'${A:-it''s}'", ["${A:-it''s}"]),
        ("${A:-'} x", ["${A:-'}", "x"]),
        ("$${A} x$$y $HOME", ["$${A}", "x$$y", "$HOME"]),
        ("a ${B", ["a", "${B"]),
        ("\ue000 ${A B}", ["\ue000", "${A B}"]),
    ],
)
def test_a_command_is_split_as_by_a_shell_and_no_reference_is_torn(
    text: str, becomes: list[str]
) -> None:
    assert words(text) == becomes


@given(st.lists(st.text(alphabet="ab $'\"{}\\\t", max_size=8), max_size=5))
def test_words_that_are_quoted_come_back(given_words: list[str]) -> None:
    quoted = shlex.join(word.replace("$", "$$") for word in given_words)
    assert [text_of(word) for word in words(quoted)] == given_words


def test_braces_are_counted_in_pairs() -> None:
    assert closing_brace("${a{b}c}d}", 0) == 7
    assert closing_brace("${a{b}", 0) == -1
