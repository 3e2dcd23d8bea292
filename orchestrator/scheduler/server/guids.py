"""GUIDs in every form that .NET reads."""

import re
from uuid import UUID

_PLAIN = re.compile(r"[0-9a-f]{32}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


def read_guid(text: str) -> str | None:
    """Return the lower-case form with dashes; None for what is no GUID.

    Upper case, braces or parentheses (around the form with dashes), no dashes, and blanks around
    it are accepted, as by ``Guid.TryParse``.
    """
    inner = text.strip()
    if (inner[:1], inner[-1:]) in {("{", "}"), ("(", ")")} and "-" in inner:
        inner = inner[1:-1]
    return str(UUID(inner)) if _PLAIN.fullmatch(inner) else None
