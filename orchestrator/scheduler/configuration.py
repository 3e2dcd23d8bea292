"""Where the scheduler is and how to log in, from config.json."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from orchestrator.scheduler.errors import ConfigurationUnusable

CLIENT_ID_VARIABLE = "SCHEDULER_CLIENT_ID"
API_KEY_VARIABLE = "SCHEDULER_API_KEY"


@dataclass(frozen=True, slots=True)
class Access:
    """A scheduler's MCP URL and the credentials for it."""

    url: str
    client_id: str
    api_key: str

    def __repr__(self) -> str:  # the key must not reach a log by way of a traceback
        return f"Access(url={self.url!r}, client_id={self.client_id!r})"


def read_access(path: Path, server_name: str, environment: Mapping[str, str]) -> Access:
    """Read the entry of ``server_name``; credentials in ``environment`` win over the file's.

    Raises:
        ConfigurationUnusable: there is no such file or entry, or it lacks URL or credentials.
    """
    entry = _entry(path, server_name)
    transport = _mapping(entry.get("transport"))
    auth = _mapping(transport.get("auth"))
    url = transport.get("url")
    client_id = environment.get(CLIENT_ID_VARIABLE) or auth.get("client_id")
    api_key = environment.get(API_KEY_VARIABLE) or auth.get("api_key")
    if not isinstance(url, str) or not is_http_url(url):
        raise ConfigurationUnusable(f"{path}: {server_name!r} has no http URL in transport.url")
    if not (isinstance(client_id, str) and isinstance(api_key, str)):
        problem = (
            f"{path}: {server_name!r} has no client_id and api_key in transport.auth;"
            f" set them there or as {CLIENT_ID_VARIABLE} and {API_KEY_VARIABLE}"
        )
        raise ConfigurationUnusable(problem)
    return Access(url, client_id, api_key)


class ConfigFile:
    """config.json, read again whenever it was changed."""

    def __init__(self, path: Path, server_name: str, environment: Mapping[str, str]) -> None:
        self._path = path
        self._server_name = server_name
        self._environment = environment
        self._seen: tuple[int, ...] | None = None
        self._access: Access | None = None

    def access(self) -> Access:
        """Return what the file says now.

        Raises:
            ConfigurationUnusable: as `read_access`.
        """
        seen = self._signature()
        if self._access is None or seen != self._seen:
            self._access = read_access(self._path, self._server_name, self._environment)
            self._seen = seen
        return self._access

    def _signature(self) -> tuple[int, ...] | None:
        try:
            status = self._path.stat()
        except OSError:
            return None
        return status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size


def process_environment() -> Mapping[str, str]:
    """Return the environment, for applications that build a `SchedulerService` without one."""
    return os.environ  # noqa: TID251 - an entry of this room: the two variables above


def _entry(path: Path, server_name: str) -> Mapping[str, object]:
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise ConfigurationUnusable(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise ConfigurationUnusable(f"cannot read {path}: {error}") from error
    servers = _mapping(_mapping(content).get("mcp")).get("mcp_servers")
    entries = [_mapping(server) for server in servers] if isinstance(servers, list) else []
    for entry in entries:
        if entry.get("name") == server_name:
            return entry
    known = ", ".join(repr(entry.get("name")) for entry in entries) or "none"
    raise ConfigurationUnusable(f"{path}: no server {server_name!r} in mcp.mcp_servers ({known})")


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, dict) else {}


def is_http_url(url: str) -> bool:
    """Tell whether ``url`` is http or https and names a host."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return parts.scheme in {"http", "https"} and bool(parts.hostname)
