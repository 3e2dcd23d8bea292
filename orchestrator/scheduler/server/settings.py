"""What the embedded scheduler is told at its start, checked once."""

import ipaddress
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

LEAST_KEY_BYTES = 32
DEFAULT_PORT = 5146
LOOPBACK_NAMES = frozenset({"localhost", "ip6-localhost"})


class ConfigurationRefused(Exception):
    """The scheduler must not start with these settings; the text says what to set."""


DEFAULT_ISSUER = "McpScheduler"
DEFAULT_AUDIENCE = "McpSchedulerClients"
DEFAULT_LIFE_S = 7200


@dataclass(frozen=True, slots=True)
class Keys:
    """The API key that clients log in with and the rules of the tokens they get."""

    api_key: str
    signing_key: str
    issuer: str = DEFAULT_ISSUER
    audience: str = DEFAULT_AUDIENCE
    life_s: int = DEFAULT_LIFE_S

    def __repr__(self) -> str:  # a key must not reach a log by way of a traceback
        return f"Keys(issuer={self.issuer!r}, audience={self.audience!r}, life_s={self.life_s})"


@dataclass(frozen=True, slots=True)
class DeliveryPolicy:
    """How deliveries are made. ``attempts`` counts the first; ``grace_s`` is given at a stop."""

    attempts: int = 1
    concurrency: int = 64
    timeout_s: float = 100.0
    first_wait_s: float = 1.0
    longest_wait_s: float = 300.0
    grace_s: float = 25.0


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that `serve` takes."""

    host: str
    port: int
    data_path: Path
    keys: Keys
    delivery: DeliveryPolicy
    allowed_hosts: tuple[str, ...] = ()
    largest_body_bytes: int = 4 * 1024 * 1024


def is_loopback(host: str) -> bool:
    """Tell whether only this machine can reach a server that listens on ``host``."""
    if host.lower() in LOOPBACK_NAMES:
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def keys_from(environment: Mapping[str, str], host: str, data_path: Path) -> Keys:
    """Read the keys by the .NET service's names, ``Auth__ApiKey`` and ``Jwt__…``.

    What is not set is drawn once and kept beside the data, readable by this user only; on an
    address that others can reach both keys must be set.

    Raises:
        ConfigurationRefused: a key is missing, too short, or a number is none.
    """
    missing = [name for name in ("Auth__ApiKey", "Jwt__Key") if not environment.get(name)]
    if missing and not is_loopback(host):
        problem = f"{host!r} can be reached from other machines: set {' and '.join(missing)}"
        raise ConfigurationRefused(problem)
    kept = _kept_keys(data_path) if missing else {}
    keys = Keys(
        api_key=environment.get("Auth__ApiKey") or kept["Auth__ApiKey"],
        signing_key=environment.get("Jwt__Key") or kept["Jwt__Key"],
        issuer=environment.get("Jwt__Issuer") or DEFAULT_ISSUER,
        audience=environment.get("Jwt__Audience") or DEFAULT_AUDIENCE,
        life_s=_minutes(environment.get("Jwt__ExpiryMinutes")) * 60,
    )
    if len(keys.signing_key.encode()) < LEAST_KEY_BYTES:
        raise ConfigurationRefused(f"Jwt__Key must have at least {LEAST_KEY_BYTES} bytes")
    return keys


def keys_path(data_path: Path) -> Path:
    """Return where keys that nobody set are kept."""
    return data_path.with_name(data_path.name + ".keys")


def _kept_keys(data_path: Path) -> dict[str, str]:
    path = keys_path(data_path)
    try:
        lines = path.read_text().splitlines()
    except FileNotFoundError:
        drawn = {name: secrets.token_urlsafe(32) for name in ("Auth__ApiKey", "Jwt__Key")}
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.touch(mode=0o600)
        path.write_text("".join(f"{name}={value}\n" for name, value in drawn.items()))
        return drawn
    kept = dict(line.split("=", 1) for line in lines if "=" in line)
    if not {"Auth__ApiKey", "Jwt__Key"} <= kept.keys():
        raise ConfigurationRefused(f"cannot use {path}: Auth__ApiKey and Jwt__Key must stand in it")
    return kept


def _minutes(text: str | None) -> int:
    if not text:
        return DEFAULT_LIFE_S // 60
    if not text.isascii() or not text.isdigit() or not 0 < int(text) <= 60 * 24 * 366:
        problem = f"Jwt__ExpiryMinutes must be a number of minutes, not {text!r}"
        raise ConfigurationRefused(problem)
    return int(text)
