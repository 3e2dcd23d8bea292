"""Each example runs as it stands."""

import json
import shutil
from pathlib import Path

import pytest

from tests.stack import Stack

EXAMPLES = Path(__file__).parents[2] / "examples"
# What wants more than Python has tests of its own.
WANTING_MORE = {"dotnet-scheduler"}
PLAIN = sorted(
    path.parent for path in EXAMPLES.glob("*/services.yaml") if path.parent.name not in WANTING_MORE
)


@pytest.mark.parametrize("folder", PLAIN)
def test_an_example_starts_is_well_and_ends(folder: Path, tmp_path: Path) -> None:
    one = Stack(tmp_path / "project", {})
    shutil.copytree(folder, one.folder, dirs_exist_ok=True)
    try:
        ran = one.run("up", "-d", "--wait")
        assert ran.code == 0, ran
        assert one.run("status").code == 0
        if "mcp:" in one.file.read_text():
            config = json.loads((one.folder / "config/config.json").read_text())
            (entry,) = config["mcp"]["mcp_servers"]
            assert entry["transport"]["url"].startswith("http://127.0.0.1:")
        one.down()
        assert one.survivors() == set()
    finally:
        one.destroy()


def test_each_example_stands_in_the_list() -> None:
    text = (EXAMPLES / "README.md").read_text()
    for path in EXAMPLES.glob("*/services.yaml"):
        assert f"({path.parent.name}/services.yaml)" in text
