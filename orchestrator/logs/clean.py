"""What a service wrote, made harmless for a terminal: colour stays, everything else goes."""

import re
from collections.abc import Iterable
from typing import NamedTuple

_CSI = r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]?"
_STRING = r"(?:\x1b[\]P_^X]|[\x90\x98\x9d\x9e\x9f])[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)?"
_ESCAPE = r"\x1b[ -/]*[0-~]?"
_CONTROL = r"\x00-\x08\x0a-\x1f\x7f-\x9f"
# What is not seen but changes what is: directions, joiners, fillers, tags, and the selectors of
# variants (but one after a character, as emoji have it). Source: Unicode's
# Default_Ignorable_Code_Point, its Bidi_Control, and the separators of lines and paragraphs.
_HIDDEN = (
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e"
    "\u2060-\u206f\u3164\ufe00-\ufe0d\ufeff\uffa0\ufff0-\ufffb"
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
_VARIANT = "\ufe0e\ufe0f"
_LONE_VARIANT = rf"(?:(?<=[\ufe00-\ufe0f\s])|^)[{_VARIANT}]"
_ANY = f"[{_CONTROL}{_HIDDEN}{_VARIANT}]"
_SUSPECT = re.compile(_ANY)
# The look ahead makes it several times as fast.
_ALL = re.compile(
    f"(?={_ANY})(?:({_STRING})|({_CSI})|({_ESCAPE})|([{_CONTROL}])|([{_HIDDEN}]|{_LONE_VARIANT}))"
)
_SGR = re.compile(r"(?:\x1b\[|\x9b)([0-9;:]*)m")
_RESET = "\x1b[0m"
_IS_RESET = re.compile(r"\x1b\[0*m")


class Cleaned(NamedTuple):
    """A text that only shows itself, and where its colours (SGR sequences) were.

    ``places`` are the places that were asked for, as they are in the cleaned text.
    """

    text: str
    colours: tuple[tuple[int, str], ...] = ()
    places: tuple[int, ...] = ()


def clean(line: bytes, *, colour: bool = True) -> str:
    """Return a line as text that only shows itself.

    Undecodable bytes become U+FFFD, a carriage return inside becomes ␍, and characters that are not
    seen are shown as `<U+202E>`. Colours (SGR) stay if ``colour``, and are reset at the line's end.
    """
    text = line.decode("utf-8", "replace").removesuffix("\r")
    if text.isascii() and text.isprintable():
        return text
    cleaned = strip(text)
    return coloured(cleaned.text, cleaned.colours) if colour else cleaned.text


def strip(text: str, places: Iterable[int] = ()) -> Cleaned:
    """Take everything out of a text that does more than show itself; colours are told apart."""
    if (text.isascii() and text.isprintable()) or _SUSPECT.search(text) is None:
        return Cleaned(text, (), tuple(places))
    out: list[str] = []
    colours = []
    moved = []
    waiting = [*places]
    length = at = 0
    for found in _ALL.finditer(text):
        begin, end = found.span()
        while waiting and waiting[0] <= begin:
            moved.append(length + waiting.pop(0) - at)
        length += begin - at
        shown = _shown(found)
        sgr = _SGR.fullmatch(found[0]) if found[2] else None
        if sgr is not None:
            colours.append((length, f"\x1b[{sgr[1]}m"))
        out += (text[at:begin], shown)
        length += len(shown)
        while waiting and waiting[0] < end:
            moved.append(length)
            del waiting[0]
        at = end
    out.append(text[at:])
    moved += [length + place - at for place in waiting]
    return Cleaned("".join(out), tuple(colours), tuple(moved))


def coloured(text: str, colours: Iterable[tuple[int, str]]) -> str:
    """Put colours into a text at their places; one that is left open is closed at the end."""
    out: list[str] = []
    at, sequence = 0, _RESET
    for place, sequence in colours:
        out += (text[at:place], sequence)
        at = place
    out.append(text[at:])
    return "".join(out) + ("" if _IS_RESET.fullmatch(sequence) else _RESET)


def _shown(found: re.Match[str]) -> str:
    if found[5]:
        return f"<U+{ord(found[5]):04X}>"
    return "␍" if found[4] == "\r" else ""
