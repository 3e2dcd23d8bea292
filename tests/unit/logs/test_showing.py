"""What a service wrote, as it may be shown: clean, without secrets, with a prefix."""

import base64
import json
from urllib.parse import quote

import pyte
import pytest
from hypothesis import given
from hypothesis import strategies as some

from orchestrator.logs.clean import clean
from orchestrator.logs.lines import PIECE_BYTES, RawLine, Splitter
from orchestrator.logs.printer import LogPrinter, Look, as_json
from orchestrator.logs.query import Line, ServiceEvent
from orchestrator.logs.redact import HIDDEN, Redactor
from orchestrator.logs.shown import shown

NASTY = [
    b"\x1b]0;title\x07",
    b"\x1b]0;title\x1b\\",
    b"\x1b]52;c;Y2xpcGJvYXJk\x07",
    b"\x1b]8;;http://evil\x07link\x1b]8;;\x07",
    b"\x1b]0;never closed",
    b"\x1bPdevice control\x1b\\",
    b"\x1b_application\x1b\\",
    b"\x1b^private\x1b\\",
    b"\x1bXstart of string\x1b\\",
    b"\x1b[2J",
    b"\x1b[H",
    b"\x1b[10;10H",
    b"\x1b[1A",
    b"\x1b[K",
    b"\x1b[?25l",
    b"\x1b[?1049h",
    b"\x1b[?2004h",
    b"\x1b[6n",
    b"\x1b[c",
    b"\x1b[>c",
    b"\x1b[5i",
    b"\x1b[20l",
    b"\x1b[!p",
    b"\x1b[3g",
    b"\x1b[1;5r",
    b"\x1b[4 q",
    b"\x1b[",
    b"\x1b",
    b"\x1bc",
    b"\x1b7",
    b"\x1b8",
    b"\x1bM",
    b"\x1bD",
    b"\x1b(0",
    b"\x1b#8",
    b"\x1b=",
    b"\x1b%G",
    b"\x07",
    b"\x08\x08\x08",
    b"\x0b\x0c",
    b"\x0e\x0f",
    b"\x00",
    b"\x7f",
    b"\x9b2J",
    b"\xc2\x9b2J",
    b"\xc2\x9d0;title\xc2\x9c",
    b"\xc2\x90q\xc2\x9c",
    b"\xc2\x85",
    b"\x1b[31;1",
    b"\x1b[<0;1;1M",
    b"\x1b]4;1;rgb:00/00/00\x07",
    b"\x1b]1337;File=:AAAA\x07",
    b"\x1bP+q544e\x1b\\",
    b"\x1b[?1000h",
    b"\x1b[2;1H\x1b[0m",
    b"\x1b[100B",
    b"\x1b[1L",
    b"\x1b[1M",
    b"\x1b[8;1;1t",
    b"\x1b[21t",
]


class Terminal(pyte.Screen):
    """A terminal that keeps what it would type into the shell when it is asked something."""

    def __init__(self, columns: int, lines: int) -> None:
        self.answers: list[str] = []
        super().__init__(columns, lines)

    def write_process_input(self, data: str) -> None:
        self.answers.append(data)


@pytest.mark.parametrize("nasty", NASTY)
@pytest.mark.parametrize("colour", [True, False])
def test_a_sequence_does_nothing_to_a_terminal(nasty: bytes, colour: bool) -> None:
    screen = Terminal(80, 5)
    stream = pyte.Stream(screen)
    stream.feed("before\r\n")
    stream.feed(clean(b"a" + nasty + b"b", colour=colour) + "\r\n")
    stream.feed("after")
    assert screen.display[0].rstrip() == "before"
    assert screen.display[1].startswith("a")
    assert screen.display[2].rstrip() == "after"
    assert (screen.title, screen.icon_name, screen.answers) == ("", "", [])
    assert screen.cursor.y == 2
    assert screen.cursor.attrs.fg == "default"


def test_colours_stay_and_end_with_the_line() -> None:
    assert clean(b"\x1b[31mred\x1b[0m") == "\x1b[31mred\x1b[0m"
    assert clean(b"\x1b[1;38;5;9mopen") == "\x1b[1;38;5;9mopen\x1b[0m"
    assert clean(b"\x1b[31mred", colour=False) == "red"


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        (b"plain", "plain"),
        ("Grüße, 世界".encode(), "Grüße, 世界"),
        (b"tab\tstays", "tab\tstays"),
        (b"dos\r", "dos"),
        (b"over\rwritten", "over␍written"),
        (b"bad \xff byte", "bad \ufffd byte"),
        ("\u202eabc".encode(), "<U+202E>abc"),
        ("a\u200bb".encode(), "a<U+200B>b"),
        ("\U000e0041".encode(), "<U+E0041>"),
        ("\u26a0\ufe0f careful".encode(), "\u26a0\ufe0f careful"),
        ("x\ufe0f\ufe0e\ufe00".encode(), "x\ufe0f<U+FE0E><U+FE00>"),
        ("\U000e0101\u3164".encode(), "<U+E0101><U+3164>"),
        (b"", ""),
    ],
)
def test_text_shows_itself(raw: bytes, shown: str) -> None:
    assert clean(raw) == shown


@given(some.binary(max_size=200))
def test_nothing_but_colour_is_left_of_any_bytes(raw: bytes) -> None:
    shown = clean(raw, colour=False)
    assert all(
        character == "\t" or character.isprintable() or character > "\xa0" for character in shown
    )
    assert "\x1b" not in shown


SECRET = 'p@ss "w/rd+ü'


@pytest.mark.parametrize(
    "form",
    [
        SECRET,
        quote(SECRET, safe=""),
        json.dumps(SECRET)[1:-1],
        base64.b64encode(SECRET.encode()).decode(),
        base64.b64encode(b"x" + SECRET.encode() + b"y").decode(),
        base64.b64encode(b"xy" + SECRET.encode() + b"z").decode(),
        base64.urlsafe_b64encode(SECRET.encode()).decode(),
    ],
)
def test_a_secret_is_hidden_in_each_form_in_which_it_travels(form: str) -> None:
    shown = Redactor([SECRET]).text(f"before {form} after")
    assert HIDDEN in shown
    assert form not in shown
    assert shown.startswith("before ")
    assert shown.endswith(" after")


def test_the_longest_secret_is_hidden_whole() -> None:
    assert Redactor(["secret", "secret-key"]).text("a secret-key") == f"a {HIDDEN}"


def test_nothing_is_hidden_where_there_is_no_secret_worth_it() -> None:
    assert Redactor([]).text("text") == "text"
    assert Redactor(["", "ab"]).text("about") == "about"


def test_a_secret_torn_by_colours_is_hidden_after_cleaning() -> None:
    written: list[str] = []
    printer = LogPrinter(["a"], written.append, Redactor(["topsecret"]), Look())
    printer.show(Line("a", None, 1, 0, b"top\x1b[31msecret"))
    assert written == [f"a | {HIDDEN}\n"]


@pytest.mark.parametrize("form", [SECRET.encode(), base64.b64encode(SECRET.encode())[:-3]])
def test_a_secret_across_two_pieces_is_hidden_wherever_it_is_cut(form: bytes) -> None:
    redactor = Redactor([SECRET])
    for cut in range(len(form) + 1):
        start = PIECE_BYTES - cut
        line = b"x" * start + form + b"y" * 50_000
        pieces = [*Splitter().feed(0, line + b"\n")]
        assert [len(one.text) for one in pieces[:2]] == [PIECE_BYTES, PIECE_BYTES]
        whole = "".join(shown(one, redactor) for one in pieces)
        hidden = whole.removeprefix("x" * start).removesuffix("y" * 50_000)
        assert set(hidden) == {"•"}


def test_what_may_be_the_beginning_of_a_secret_waits_for_its_rest() -> None:
    splitter, redactor = Splitter(), Redactor(["topsecret"])
    assert [*splitter.feed(0, b"key: topsec")] == []
    (begun,) = splitter.flush(partial=True)
    (rest,) = splitter.feed(11, b"ret.\n")
    assert [shown(one, redactor) for one in (begun, rest)] == [f"key: {HIDDEN}", "."]


def test_a_character_and_a_sequence_across_two_pieces_are_whole() -> None:
    for data, expected in (("€".encode(), "€"), (b"\x1b]0;title\x07", "")):
        for cut in range(len(data) + 1):
            line = b"x" * (PIECE_BYTES - cut) + data + b"y" * 20_000 + b"\n"
            pieces = [shown(one, Redactor([])) for one in Splitter().feed(0, line)]
            assert "".join(pieces).strip("xy") == expected


def test_the_pieces_of_a_growing_line_are_those_of_the_whole_one() -> None:
    line = bytes(some_byte % 200 + 32 for some_byte in range(70_000)) + b"\n"
    whole = [*Splitter().feed(0, line)]
    splitter = Splitter()
    grown = [
        one for at in range(0, len(line), 999) for one in splitter.feed(at, line[at : at + 999])
    ]
    assert [one[:3] for one in grown] == [one[:3] for one in whole]
    assert b"".join(one.text for one in grown) + b"\n" == line


def test_colours_around_and_in_a_hidden_secret_stay() -> None:
    line = RawLine(0, b"\x1b[1mkey=top\x1b[31msecret\x1b[32m!")
    text = shown(line, Redactor(["topsecret"]), colour=True)
    assert text == f"\x1b[1mkey={HIDDEN}\x1b[31m\x1b[32m!\x1b[0m"


def test_secrets_that_overlap_are_hidden_together() -> None:
    assert Redactor(["abcdefgh", "efghijkl"]).text("-abcdefghijkl-") == f"-{HIDDEN}-"


def test_each_line_of_a_secret_of_several_lines_is_hidden() -> None:
    key = "-----BEGIN KEY-----\nMIIEvQIBADANBg\nkqhkiG9w0BAQEF\n-----END KEY-----\n"
    redactor = Redactor([key])
    assert redactor.text("kqhkiG9w0BAQEF") == HIDDEN
    assert redactor.text(f"key {json.dumps(key)}") == f'key "{HIDDEN}"'
    assert redactor.text("-----BEGIN KEY-----") == "-----BEGIN KEY-----"


@given(some.lists(some.text(min_size=7, max_size=12), max_size=5), some.text(max_size=60))
def test_the_quick_look_overlooks_nothing(secrets: list[str], text: str) -> None:
    redactor = Redactor(secrets)
    for at, one in enumerate(secrets):
        if len(one.strip()) >= 4:
            assert one not in redactor.text(text[: at * 3] + one + text[at * 3 :]) or one in HIDDEN


def test_prefixes_are_aligned_and_coloured_by_the_alphabet() -> None:
    written: list[str] = []
    names = ["web", "database"]
    printer = LogPrinter(names, written.append, Redactor([]), Look(colour=True))
    for name in names:
        printer.show(Line(name, None, 1, 0, b"x"))
    assert written == ["\x1b[33mweb      | \x1b[0mx\n", "\x1b[36mdatabase | \x1b[0mx\n"]


def test_a_restart_is_marked_and_a_first_start_is_not() -> None:
    written: list[str] = []
    printer = LogPrinter(["a"], written.append, Redactor([]), Look())
    printer.show(ServiceEvent("a", 0.0, 1, 0, "start"))
    printer.show(ServiceEvent("a", 0.0, 1, 5, "exit", code=3))
    printer.show(ServiceEvent("a", 0.0, 2, 5, "start"))
    assert written == ["a | ── run 1 ended with exit code 3 ──\n", "a | ── run 2 started ──\n"]


def test_json_is_the_contract() -> None:
    line = Line("a", 1_000_000.25, 2, 7, b"x\x1b[2Jy", partial=True)
    assert json.loads(as_json(line, Redactor([]))) == {
        "service": "a",
        "ts": "1970-01-12T13:46:40.250Z",
        "run": 2,
        "seq": 7,
        "text": "xy",
        "partial": True,
    }
    event = json.loads(as_json(ServiceEvent("a", 0.0, 2, 7, "exit", signal=9), Redactor([])))
    assert (event["event"], event["exit_code"], event["signal"]) == ("exit", None, "KILL")
