"""What a service wrote, made harmless for a terminal: colour stays, everything else goes."""

import re

_CSI = r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]?"
_STRING = r"(?:\x1b[\]P_^X]|[\x90\x98\x9d\x9e\x9f])[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)?"
_ESCAPE = r"\x1b[ -/]*[0-~]?"
_CONTROL = r"[\x00-\x08\x0a-\x1f\x7f-\x9f]"
# Characters that are not seen but change what is: directions, joiners, tags.
_HIDDEN = (
    "[\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\U000e0000-\U000e007f]"
)
_ALL = re.compile(f"({_STRING})|({_CSI})|({_ESCAPE})|({_CONTROL})|({_HIDDEN})")
_SGR = re.compile(r"(?:\x1b\[|\x9b)[0-9;:]*m")
_RESET = "\x1b[0m"
_IS_RESET = re.compile(r"\x1b\[0*m")


def clean(line: bytes, *, colour: bool = True) -> str:
    """Return a line as text that only shows itself.

    Undecodable bytes become U+FFFD, a carriage return inside becomes ␍, and characters that are not
    seen are shown as `<U+202E>`. Colours (SGR) stay if ``colour``, and are reset at the line's end.
    """
    text = line.decode("utf-8", "replace").removesuffix("\r")
    if text.isascii() and text.isprintable():
        return text
    open_colour = False

    def harmless(found: re.Match[str]) -> str:
        nonlocal open_colour
        if found[2] and colour and _SGR.fullmatch(found[0]):
            sequence = "\x1b[" + found[0][found[0].index("[") + 1 if "[" in found[0] else 1 :]
            open_colour = not _IS_RESET.fullmatch(sequence)
            return sequence
        if found[4] == "\r":
            return "␍"
        return f"<U+{ord(found[5]):04X}>" if found[5] else ""

    cleaned = _ALL.sub(harmless, text)
    return cleaned + _RESET if open_colour else cleaned
