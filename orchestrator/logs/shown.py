"""A line as it may be shown: harmless, and with no secret in it."""

import codecs
from collections.abc import Iterable, Iterator
from typing import Protocol

from orchestrator.logs.clean import coloured, strip
from orchestrator.logs.redact import HIDDEN, Redactor, Span


class Showable(Protocol):
    """A line, or a piece of one with what is known of the line's bytes around it."""

    @property
    def text(self) -> bytes: ...  # noqa: D102
    @property
    def partial(self) -> bool: ...  # noqa: D102
    @property
    def before(self) -> bytes: ...  # noqa: D102
    @property
    def after(self) -> bytes: ...  # noqa: D102


_DECODER = codecs.getincrementaldecoder("utf-8")


def shown(line: Showable, redactor: Redactor, *, colour: bool = False) -> str:
    """Return a line, or a piece of one, as text that only shows itself and holds no secret.

    Secrets are looked for in what is seen, so that control sequences in one don't keep it, and in
    what stands before and after a piece, so that the cut between two doesn't.
    """
    if not (line.before or line.after):
        text = line.text.decode("utf-8", "replace").removesuffix("\r")
        if not line.partial and text.isascii() and text.isprintable():
            return redactor.text(text)
        begin, end = 0, len(text)
    else:
        text, begin, end = _in_context(line)
    cleaned = strip(text, (begin, end))
    begin, end = cleaned.places
    spans = redactor.spans(cleaned.text)
    if line.partial and not line.after:
        # What follows is not known yet; it may be the rest of a secret.
        spans = _with_begun(spans, cleaned.text, redactor)
    pieces = list(_hidden(cleaned.text, spans, begin, end))
    if not colour:
        return "".join(text for _, text in pieces)
    inside = [one for one in cleaned.colours if begin <= one[0] <= end]
    return coloured("".join(text for _, text in pieces), _moved(inside, pieces))


def _in_context(line: Showable) -> tuple[str, int, int]:
    """Return a piece's line as far as it is known, and where the piece is in it."""
    decoder = _DECODER("replace")
    before = decoder.decode(line.before)
    text = decoder.decode(line.text, final=not line.after)
    if not line.partial:
        text = text.removesuffix("\r")
    after = decoder.decode(line.after, final=True)
    return before + text + after, len(before), len(before) + len(text)


def _with_begun(spans: list[Span], text: str, redactor: Redactor) -> list[Span]:
    begun = len(text) - redactor.begun(text)
    if begun == len(text) or (spans and spans[-1][1] > begun):
        return spans
    return [*spans, (begun, len(text))]


def _hidden(text: str, spans: Iterable[Span], begin: int, end: int) -> Iterator[tuple[int, str]]:
    """Yield what is shown of a part of the text, each portion with where it was.

    A secret is shown as hidden where it begins; of one that began before, nothing is left.
    """
    at = begin
    for first, last in spans:
        if last <= begin or first >= end:
            continue
        if first >= begin:
            yield at, text[at:first]
            yield first, HIDDEN
        at = max(at, min(last, end))
    yield at, text[at:end]


def _moved(
    colours: Iterable[tuple[int, str]], pieces: list[tuple[int, str]]
) -> Iterator[tuple[int, str]]:
    """Yield the colours at their places in the joined pieces; those inside a secret after it."""
    places = []
    length = 0
    for at, text in pieces:
        places.append((at, length, text))
        length += len(text)
    for place, sequence in colours:
        found = 0
        for at, start, shown_text in places:
            if at <= place:
                is_inside = shown_text is HIDDEN and place > at
                found = start + (len(HIDDEN) if is_inside else min(place - at, len(shown_text)))
        yield found, sequence
