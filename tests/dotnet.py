"""The real .NET scheduler, where there is one."""

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

INSTALLER = Path(__file__).parents[2] / "shared" / "dotnet" / "install"
QUIET_DOTNET: Mapping[str, str] = {
    "DOTNET_CLI_TELEMETRY_OPTOUT": "1",
    "DOTNET_SYSTEM_GLOBALIZATION_INVARIANT": "1",
    "DOTNET_NOLOGO": "1",
    # Else a killed runtime leaves its debugger's pipes in the folder for temporary files.
    "DOTNET_EnableDiagnostics": "0",
}


@dataclass(frozen=True)
class Found:
    """A .NET host and the scheduler's dll."""

    host: str
    dll: Path


@contextlib.contextmanager
def found_dotnet(folder: Path) -> Iterator[Found]:
    """Find it by SCHEDULER_DLL and PATH, or install it into ``folder``; else skip the test."""
    dll, host = os.environ.get("SCHEDULER_DLL"), shutil.which("dotnet")
    if dll and host and Path(dll).is_file():
        yield Found(host, Path(dll))
        return
    if not INSTALLER.is_file():
        pytest.skip("no .NET scheduler: set SCHEDULER_DLL and have dotnet on PATH")
    done = subprocess.run(["sh", INSTALLER, folder], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no .NET scheduler: {done.stderr.strip()}")
    yield Found(str(folder / "dotnet"), folder / "McpScheduler" / "McpScheduler.dll")
    shutil.rmtree(folder)
