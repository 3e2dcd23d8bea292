"""The values that must not be shown, as the newest `up` noted them."""

import json

from orchestrator.cli.stack import Stack
from orchestrator.logs.redact import Redactor


def redactor_of(stack: Stack) -> Redactor:
    """Return what hides the stack's secrets; it hides nothing where none were noted."""
    try:
        values = json.loads((stack.runtime_dir / "redact.json").read_bytes())
    except (OSError, ValueError):
        values = []
    return Redactor([one for one in values if isinstance(one, str)])
