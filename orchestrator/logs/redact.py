"""Hiding secrets in whatever is shown, also in the forms in which they travel."""

import base64
import json
import re
from collections.abc import Collection
from urllib.parse import quote, quote_plus

HIDDEN = "••••"
_SHORTEST = 4


class Redactor:
    """Knows the values that must not be shown."""

    def __init__(self, secrets: Collection[str]) -> None:
        forms = {form for one in secrets for form in _forms(one)}
        ordered = sorted(forms, key=lambda form: (-len(form), form))
        self._pattern = re.compile("|".join(map(re.escape, ordered))) if ordered else None

    def text(self, text: str) -> str:
        """Return the text with every secret in it hidden."""
        return text if self._pattern is None else self._pattern.sub(HIDDEN, text)


def _forms(secret: str) -> set[str]:
    """Return the secret as it is, and as URLs, JSON and base64 (at any alignment) show it.

    One of less than four characters is not looked for: half of any text would be hidden.
    """
    if len(secret) < _SHORTEST:
        return set()
    data = secret.encode()
    forms = {secret, quote(secret, safe=""), quote_plus(secret), json.dumps(secret)[1:-1]}
    for lead in range(3):
        # Only the characters that no neighbour of the secret has a part in.
        encoded = base64.b64encode(b"\0" * lead + data).rstrip(b"=").decode()
        first = (lead * 8 + 5) // 6
        last = (lead + len(data)) * 8 // 6
        if last - first > _SHORTEST:
            forms.add(encoded[first:last])
            forms.add(encoded[first:last].replace("+", "-").replace("/", "_"))
    return forms
