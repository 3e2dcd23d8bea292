"""Hiding secrets in whatever is shown, also in the forms in which they travel."""

import base64
import json
import re
from collections.abc import Collection, Iterator
from urllib.parse import quote, quote_plus

from orchestrator.logs.clean import clean

HIDDEN = "••••"
_SHORTEST = 4
_GRAM = 4
_SEARCHED = 2 * _GRAM - 1
_WIRE_ONLY = re.compile(r"""["'&+<>`]""")

Span = tuple[int, int]


class Redactor:
    """Knows the values that must not be shown."""

    def __init__(self, secrets: Collection[str]) -> None:
        found = {form for one in secrets for form in _forms(one)}
        self._forms = sorted(found, key=lambda form: (-len(form), form))
        self._short = any(len(form.encode()) < _SEARCHED for form in self._forms)
        grams = {gram for form in self._forms for gram in _grams(form.encode())}
        self._is_free = frozenset(grams).isdisjoint

    def text(self, text: str) -> str:
        """Return the text with every secret in it hidden."""
        at = 0
        out: list[str] = []
        for begin, end in self.spans(text):
            out += (text[at:begin], HIDDEN)
            at = end
        return "".join((*out, text[at:])) if at else text

    def spans(self, text: str) -> list[Span]:
        """Return where secrets are, in order and apart from one another."""
        if not self._forms or not (self._short or self._may_hold(text)):
            return []
        found = [span for form in self._forms for span in _places(form, text)]
        return _joined(sorted(found))

    def begun(self, text: str) -> int:
        """Return how many characters at the end of a text may be the beginning of a secret."""
        longest = 0
        for form in self._forms:
            for length in range(min(len(form) - 1, len(text)), max(longest, _SHORTEST - 1), -1):
                if text.endswith(form[:length]):
                    longest = length
                    break
        return longest

    def _may_hold(self, text: str) -> bool:
        """Whether to look closer, told at the speed of memory and however many secrets there are.

        Every occurrence of seven bytes has four in it that begin at a multiple of four.
        """
        data = text.encode("utf-8", "surrogatepass")
        return not self._is_free(memoryview(data)[: len(data) & ~3].cast("I"))


def _grams(form: bytes) -> Iterator[int]:
    for at in range(len(form) - _GRAM + 1):
        yield from memoryview(form[at : at + _GRAM]).cast("I")


def _places(form: str, text: str) -> Iterator[Span]:
    at = text.find(form)
    while at >= 0:
        yield at, at + len(form)
        at = text.find(form, at + 1)


def _joined(spans: list[Span]) -> list[Span]:
    """Return sorted spans with those that overlap made one."""
    found: list[Span] = []
    for begin, end in spans:
        if found and begin < found[-1][1]:
            found[-1] = found[-1][0], max(end, found[-1][1])
        else:
            found.append((begin, end))
    return found


def _forms(secret: str) -> set[str]:
    """Return the secret as it is, and as logs, URLs, JSON and base64 (at any alignment) show it.

    One of less than four characters is not looked for: half of any text would be hidden. Of one of
    several lines each line is looked for, as lines are what is shown.
    """
    plain = [secret, secret.strip()]
    if "\n" in secret:
        plain += [one.strip() for one in secret.splitlines() if not one.startswith("-----")]
    found = set()
    for one in plain:
        if len(one.strip()) >= _SHORTEST:
            found |= {one, clean(one.encode("utf-8", "replace"), colour=False)}
            found |= _escaped(one) | _encoded(one.encode("utf-8", "surrogatepass"))
    return {one for one in found if len(one) >= _SHORTEST}


def _escaped(text: str) -> set[str]:
    """Return the text as URLs and JSON have it; .NET escapes more than JSON asks for."""
    in_json = json.dumps(text)[1:-1]
    in_dotnet = _WIRE_ONLY.sub(lambda found: f"\\u{ord(found[0]):04X}", text.replace("\\", "\\\\"))
    in_url = {quote(text, safe=safe, errors="replace") for safe in ("", "/", "!'()*")}
    in_url.add(quote_plus(text, errors="replace"))
    lower = {re.sub("%[0-9A-F]{2}", lambda found: found[0].lower(), one) for one in in_url}
    without_ascii = json.dumps(text, ensure_ascii=False)[1:-1]
    return {in_json, in_json.replace("/", "\\/"), without_ascii, in_dotnet} | in_url | lower


def _encoded(data: bytes) -> set[str]:
    """Return the base64 of data that stands anywhere in what was encoded."""
    found = set()
    for lead in range(3):
        # Only the characters that no neighbour of the secret has a part in.
        encoded = base64.b64encode(b"\0" * lead + data).rstrip(b"=").decode()
        first = (lead * 8 + 5) // 6
        last = (lead + len(data)) * 8 // 6
        if last - first > _SHORTEST:
            found.add(encoded[first:last])
            found.add(encoded[first:last].replace("+", "-").replace("/", "_"))
    return found
