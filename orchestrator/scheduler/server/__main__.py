"""`python -m orchestrator.scheduler.server`: run the embedded scheduler until SIGTERM."""

import argparse
import logging
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import anyio

from orchestrator.scheduler.clock import SystemClock
from orchestrator.scheduler.server.alarm import best_alarm
from orchestrator.scheduler.server.app import Scheduler
from orchestrator.scheduler.server.listening import CannotListen
from orchestrator.scheduler.server.settings import (
    DEFAULT_PORT,
    ConfigurationRefused,
    DeliveryPolicy,
    Settings,
    keys_from,
    keys_path,
)
from orchestrator.scheduler.server.store import Store, StoreFailed, StoreTaken

PORT_TAKEN = 8
# The MCP SDK is imported beside the first requests, which should not wait for it 5 ms at a turn.
SWITCH_S = 0.0005
EX_CONFIG = 78  # sysexits.h; supervisors do not try again after it
FAILED = 1

log = logging.getLogger("orchestrator.scheduler")


def main(arguments: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run until a signal and return the exit code: 0, 8 port taken, 78 settings, 1 the rest."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    # Their words at every request and stop say nothing that ours do not.
    for name in ("uvicorn.error", "httpx2", "mcp"):
        logging.getLogger(name).setLevel(logging.WARNING)
    sys.setswitchinterval(SWITCH_S)
    options = _parser(environment).parse_args(arguments)
    try:
        return _run(_settings(options, environment), environment)
    except ConfigurationRefused as error:
        log.critical("cannot start: %s", error)
        return EX_CONFIG
    except CannotListen as error:
        log.critical("%s", error)
        return PORT_TAKEN if error.is_taken else FAILED
    except (StoreFailed, StoreTaken, OSError) as error:
        log.critical("%s", error)
        return FAILED


def _run(settings: Settings, environment: Mapping[str, str]) -> int:
    clock = SystemClock()
    store = Store(settings.data_path, clock)
    store.open()
    alarm = best_alarm(clock)
    if not environment.get("Auth__ApiKey"):
        log.info("the API key is in %s", keys_path(settings.data_path))
    try:
        anyio.run(Scheduler(settings, clock, store, alarm).serve)
    finally:
        alarm.close()
        store.close()
    log.info("stopped")
    return 0


def _settings(options: argparse.Namespace, environment: Mapping[str, str]) -> Settings:
    policy = DeliveryPolicy(
        attempts=options.attempts,
        concurrency=options.concurrency,
        timeout_s=options.delivery_timeout,
        first_wait_s=options.first_wait,
    )
    return Settings(
        host=options.host,
        port=options.port,
        data_path=options.data,
        keys=keys_from(environment, options.host, options.data),
        delivery=policy,
        allowed_hosts=tuple(options.allow_host),
    )


def _parser(environment: Mapping[str, str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m orchestrator.scheduler.server",
        description="The embedded scheduler: a stand-in for the .NET McpScheduler service.",
        epilog="Keys come from the environment: Auth__ApiKey, Jwt__Key, Jwt__Issuer, "
        "Jwt__Audience, Jwt__ExpiryMinutes. Those not set are drawn once and kept beside the data.",
    )
    add = parser.add_argument
    add("--host", default="localhost", help="default: both loopback addresses")
    add("--port", type=_port, default=DEFAULT_PORT, help=f"default: {DEFAULT_PORT}; 0: a free one")
    add("--data", type=Path, default=_default_data(environment), help="default: %(default)s")
    add("--attempts", type=_count, default=1, help="per delivery; default: 1")
    add("--first-wait", type=_seconds, default=1.0, help="before the second, then doubling; 1 s")
    add("--concurrency", type=_count, default=64, help="deliveries at a time; default: 64")
    add("--delivery-timeout", type=_seconds, default=100.0, help="in seconds; default: 100")
    add(
        "--allow-host",
        action="append",
        default=[],
        metavar="NAME",
        help="answer requests for this host name too; may be given several times",
    )
    return parser


def _default_data(environment: Mapping[str, str]) -> Path:
    state = environment.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(state) / "orchestrator" / "scheduler.sqlite"


def _port(text: str) -> int:
    number = int(text)
    if not 0 <= number <= 65535:
        raise ValueError(text)
    return number


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError(text)
    return number


def _seconds(text: str) -> float:
    number = float(text)
    if not 0 < number < 86400:
        raise ValueError(text)
    return number


if __name__ == "__main__":
    code = main(sys.argv[1:], os.environ)  # noqa: TID251 - the entry point
    logging.shutdown()
    # All is closed and written; taking the MCP SDK's modules apart would cost another 0.2 s.
    os._exit(code)
