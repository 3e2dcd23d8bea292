"""config/config.json, as the whole product writes it."""

import json
import os
import stat

import pytest

from tests.e2e.conftest import Make
from tests.stack import Stack, evil, free_port, wait_until


def published(one: Stack) -> dict[str, object]:
    content = json.loads((one.folder / "config/config.json").read_text())
    entry: dict[str, object] = content["mcp"]["mcp_servers"][0]
    return entry


def server(port: int | str = "auto", **more: object) -> dict[str, object]:
    return {
        "command": ["sh", "-c", f"exec {' '.join(evil('http_ok'))} $PORT hang"],
        "port": port,
        "health": {"http": "/"},
        "env": {"KEY": "${secrets.key}"},
        "mcp": {"name": "Tools", "auth": {"client_id": "me", "api_key": "${secrets.key}"}},
        **more,
    }


SECRETS = {"key": {"generate": True}}


def test_a_ready_server_is_published_with_url_and_credentials(make: Make) -> None:
    port = free_port()
    one = make({"tools": server(port)}, secrets=SECRETS)
    ran = one.run("up", "-d", "--wait")
    assert ran.code == 0, ran
    wait_until(lambda: (one.folder / "config/config.json").exists())
    key = json.loads((one.state_dir / "secrets.json").read_text())["key"]
    assert published(one) == {
        "name": "Tools",
        "transport": {
            "type": "http",
            "url": f"http://127.0.0.1:{port}/mcp",
            "auth": {"client_id": "me", "api_key": key},
        },
    }
    mode = stat.S_IMODE((one.folder / "config/config.json").stat().st_mode)
    assert mode == 0o600
    assert key not in ran.out + ran.err
    one.down()
    assert published(one)["name"] == "Tools"


def test_foreign_keys_and_the_mode_stay_and_a_new_port_is_written_again(make: Make) -> None:
    one = make({"tools": server()}, secrets=SECRETS)
    path = one.folder / "config/config.json"
    path.parent.mkdir()
    before = (
        '{\r\n\t"theirs": 1.50,\r\n\t"mcp": {"mcp_servers": [{"name": "Other", "x": "ü"}]}\r\n}'
    )
    path.write_bytes(before.encode())
    path.chmod(0o640)
    one.run("up", "-d", "--wait")
    wait_until(lambda: b"Tools" in path.read_bytes())
    after = path.read_bytes().decode()
    assert after.startswith(
        '{\r\n\t"theirs": 1.50,\r\n\t"mcp": {"mcp_servers": [{"name": "Other", "x": "ü"}'
    )
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert json.loads(after)["mcp"]["mcp_servers"][1]["name"] == "Tools"
    first = json.loads(after)["mcp"]["mcp_servers"][1]["transport"]["url"]
    one.down()
    one.write({"tools": server(free_port())}, secrets=SECRETS)
    one.run("up", "-d", "--wait")

    def changed() -> bool:
        servers = json.loads(path.read_text())["mcp"]["mcp_servers"]
        return len(servers) == 2 and servers[1]["transport"]["url"] != first

    wait_until(changed)


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'{"mcp": []}', b"\xef\xbb\xbf{}", b"// x\n{}"]
)
def test_a_file_that_cannot_be_parsed_is_left_alone_and_the_services_run_on(
    make: Make, content: bytes
) -> None:
    one = make({"tools": server()}, secrets=SECRETS)
    path = one.folder / "config/config.json"
    path.parent.mkdir()
    path.write_bytes(content)
    assert one.run("up", "-d", "--wait").code == 0
    wait_until(lambda: one.snapshot()["warnings"])
    assert path.read_bytes() == content
    assert "config.json" in one.run("ps").err
    refused = one.run("config", "publish")
    assert (refused.code, refused.out) == (1, "")
    assert "left as it is" in refused.err
    assert one.snapshot()["published"] == []
    assert one.service("tools")["health"] == "healthy"
    path.write_text("{}")
    assert one.run("config", "publish").code == 0
    assert published(one)["name"] == "Tools"


def test_a_linked_file_stays_a_link(make: Make) -> None:
    one = make({"tools": server()}, secrets=SECRETS)
    target = one.folder / "real.json"
    target.write_text("{}\n")
    (one.folder / "config").mkdir()
    (one.folder / "config/config.json").symlink_to(target)
    one.run("up", "-d", "--wait")
    wait_until(lambda: "Tools" in target.read_text())
    assert (one.folder / "config/config.json").is_symlink()


def test_an_entry_that_another_tool_wrote_over_comes_back(make: Make) -> None:
    one = make({"tools": server()}, secrets=SECRETS)
    one.run("up", "-d", "--wait")
    path = one.folder / "config/config.json"
    wait_until(path.exists)
    path.write_text('{"theirs": true}\n')
    wait_until(lambda: "Tools" in path.read_text(), within_s=15)
    assert json.loads(path.read_text())["theirs"] is True


def test_the_address_is_found_where_the_file_names_no_port(make: Make) -> None:
    port = free_port()
    one = make(
        {
            "tools": {
                "command": evil("http_ok", port, "hang"),
                "mcp": {"name": "Tools", "path": "/mcp/"},
            }
        }
    )
    one.up()
    path = one.folder / "config/config.json"
    wait_until(path.exists, within_s=10)
    transport = published(one)["transport"]
    assert transport == {"type": "http", "url": f"http://127.0.0.1:{port}/mcp/"}
    assert one.service("tools")["url"] == f"http://127.0.0.1:{port}"


def test_no_secret_stands_in_a_command_line_or_a_file_that_others_can_read(make: Make) -> None:
    one = make({"tools": server()}, secrets=SECRETS)
    one.run("up", "-d", "--wait")
    wait_until((one.folder / "config/config.json").exists)
    key = json.loads((one.state_dir / "secrets.json").read_text())["key"].encode()
    for pid in (name for name in os.listdir("/proc") if name.isdigit()):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                assert key not in file.read()
        except OSError:
            continue
    for folder, _, names in os.walk(one.folder):
        for name in names:
            path = os.path.join(folder, name)
            found = os.lstat(path)
            if stat.S_ISREG(found.st_mode):
                with open(path, "rb") as file:
                    assert key not in file.read() or found.st_mode & 0o077 == 0, path


def test_a_secret_that_is_easily_guessed_is_warned_of(make: Make) -> None:
    one = make({"tools": server()}, secrets={"key": {"env": "TOOLS_KEY"}})
    told = one.run("up", "-d", "--wait", TOOLS_KEY="hunter2").err
    assert "the secret 'key' is shorter than 8 characters" in told
    assert "hunter2" not in told
    assert "the secret 'key'" in one.run("ps").err
