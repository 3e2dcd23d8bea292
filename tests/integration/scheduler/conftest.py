"""The two schedulers of the contract: the .NET service, where there is one, and the embedded."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.dotnet import QUIET_DOTNET, Found, found_dotnet
from tests.integration.scheduler.stage import (
    ENVIRONMENT,
    Caller,
    Process,
    Receiver,
    caller,
    embedded,
    receiving,
    running,
)


@dataclass(frozen=True)
class Dotnet(Found):
    """A .NET scheduler that is started by a test itself."""

    def process(
        self, folder: Path, *, port: int = 0, name: str = "dotnet", **environment: str
    ) -> Process:
        """Return the service with its data in ``folder``."""
        known = {**ENVIRONMENT, **QUIET_DOTNET, "Store__Path": str(folder / f"{name}.json")}
        command = [self.host, str(self.dll), "--urls", f"http://127.0.0.1:{port}"]
        log_path = folder / f"{name}.log"
        return Process(command, log_path, {**known, **environment}, cwd=self.dll.parent)


@pytest.fixture(scope="session")
def dotnet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dotnet]:
    """Return the .NET service, or skip."""
    with found_dotnet(tmp_path_factory.mktemp("dotnet")) as found:
        yield Dotnet(found.host, found.dll)


@pytest.fixture(scope="module", params=["embedded", "dotnet"])
def kind(request: pytest.FixtureRequest) -> str:
    """Name the scheduler that a test of the contract runs against."""
    if request.param == "dotnet":
        request.getfixturevalue("dotnet")
    return str(request.param)


@pytest.fixture(scope="module")
def either(
    kind: str, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Process]:
    """Run one of the two for a whole module."""
    folder = tmp_path_factory.mktemp(kind)
    if kind == "dotnet":
        process = request.getfixturevalue("dotnet").process(folder)
    else:
        process = embedded(folder)
    with running(process):
        yield process


@pytest.fixture(scope="module")
def asked(either: Process) -> Iterator[Caller]:
    """Return a logged-in caller of either."""
    with caller(either.url) as made:
        yield made


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """Run one embedded scheduler for a whole module."""
    with running(embedded(tmp_path_factory.mktemp("shared"))) as process:
        yield process


@pytest.fixture(scope="module")
def guest(shared: Process) -> Iterator[Caller]:
    """Return a logged-in caller of the shared scheduler."""
    with caller(shared.url) as made:
        yield made


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """Return a receiver that answers 200."""
    with receiving() as made:
        yield made


@pytest.fixture
def scheduler(tmp_path: Path) -> Iterator[Process]:
    """Run an embedded scheduler of the test's own."""
    with running(embedded(tmp_path)) as process:
        yield process


@pytest.fixture
def client(scheduler: Process) -> Iterator[Caller]:
    """Return a logged-in caller of the test's own scheduler."""
    with caller(scheduler.url) as made:
        yield made
