"""The addresses that conversations are delivered to."""

from urllib.parse import urlsplit


def is_web_address(endpoint: str) -> bool:
    """Tell whether ``endpoint`` is an http or https URL with a host, and without blanks inside."""
    address = endpoint.strip()
    try:
        parts = urlsplit(address)
        port = parts.port
    except ValueError:
        return False
    is_readable = address.isprintable() and " " not in address
    return parts.scheme in {"http", "https"} and bool(parts.hostname) and port != 0 and is_readable


def place(endpoint: str) -> str:
    """Return scheme, host and port for the log: a path or a query may hold a secret."""
    parts = urlsplit(endpoint.strip())
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
