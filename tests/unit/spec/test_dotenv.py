"""What a .env file holds."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.spec.dotenv import Malformed, parse


def values(text: str) -> dict[str, str]:
    found, malformed = parse(text)
    assert malformed == []
    return found


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("A=b", "b"),
        ("A=", ""),
        ("  A = b  ", "b"),
        ("export A=b", "b"),
        ("export\tA=b", "b"),
        ("A=b=c=", "b=c="),
        ("A=$b${c}$$", "$b${c}$$"),
        ("A=b#c", "b#c"),
        ("A=#b", "#b"),
        ("A=b # c", "b"),
        ("A= # c", ""),
        ("A=b\t#c", "b"),
        ('A=say "hi"', 'say "hi"'),
        ("A=it's", "it's"),
        ('A={"a": "b"}', '{"a": "b"}'),
        ("A=größe\u00a0", "größe\u00a0"),
        ("A=a\u2028b", "a\u2028b"),
        ("A='b # c $d \\n'", "b # c $d \\n"),
        ("A='b' # c", "b"),
        ('A="b # c"', "b # c"),
        ('A="b\\n\\t\\r\\"\\\\\\$\\d"', 'b\n\t\r"\\$\\d'),
        ('A="b\nc"', "b\nc"),
        ("A='b\r\nc'", "b\nc"),
        ('A=  "b"  ', "b"),
        ("A=\\n", "\\n"),
    ],
)
def test_a_value_is_everything_after_the_sign_less_blanks(line: str, value: str) -> None:
    assert values(line) == {"A": value}


def test_names_are_as_programs_use_them() -> None:
    assert values("_a=1\nAuth__Key=2\na.b-c=3") == {"_a": "1", "Auth__Key": "2", "a.b-c": "3"}


def test_blank_lines_and_comments_are_passed_over() -> None:
    assert values("\ufeff# a\n\n  # A=b\r\n \t\nA=b\r\n#") == {"A": "b"}
    assert values("") == {}


def test_the_last_line_of_a_name_counts() -> None:
    assert values("A=b\nA=c") == {"A": "c"}


def test_lines_that_cannot_be_read_are_told_and_the_others_are_read() -> None:
    text = 'A=b\nno\n=c\n1A=d\nA B=e\nC="f\nD=\'g\' h\nE="\n"\nF=\0\nG=1'
    found, malformed = parse(text)
    lines = (2, 3, 4, 5, 9, 10)
    assert malformed == [Malformed(line, "is not NAME=value") for line in lines]
    assert found == {"A": "b", "C": "f\nD='g' h\nE=", "G": "1"}


def test_a_quote_that_is_never_closed_costs_its_line_only() -> None:
    assert parse("A='b\nC=d") == ({"C": "d"}, [Malformed(1, "the ' is never closed")])


def test_text_after_a_closing_quote_is_refused() -> None:
    assert parse("A='b' c\nD=e") == (
        {"D": "e"},
        [Malformed(1, "there is more after the closing '")],
    )


def test_lines_are_counted_through_values_of_several_lines() -> None:
    assert parse('A="b\nc\nd"\nno')[1] == [Malformed(4, "is not NAME=value")]


def test_many_quotes_that_are_never_closed_are_read_quickly() -> None:
    _, malformed = parse('A="\\' + "\nA=b\\" * 50_000)
    assert len(malformed) == 1


names = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,10}", fullmatch=True)
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r"))


def double_quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


@given(st.dictionaries(names, texts, max_size=5))
def test_whatever_is_written_in_double_quotes_is_read_back(given_values: dict[str, str]) -> None:
    text = "\n".join(f"{name}={double_quoted(value)}" for name, value in given_values.items())
    assert values(text) == given_values


@given(st.dictionaries(names, texts.filter(lambda text: "'" not in text), max_size=5))
def test_whatever_is_written_in_single_quotes_is_read_back(given_values: dict[str, str]) -> None:
    text = "".join(f"export {name}='{value}' # note\n" for name, value in given_values.items())
    assert values(text) == given_values


@given(st.text())
def test_any_text_is_read_without_an_accident(text: str) -> None:
    found, malformed = parse(text)
    assert len(found) + len(malformed) <= text.count("\n") + 1
