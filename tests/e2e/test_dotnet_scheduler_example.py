"""The example with MariaDB: a real one, and the real .NET service behind it."""

import json
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.dotnet import QUIET_DOTNET, Found, found_dotnet
from tests.processes import is_alive, wait_until
from tests.stack import Ran, Stack, stack

EXAMPLE = Path(__file__).parents[2] / "examples" / "dotnet-scheduler"
SERVER_FOLDERS = ("/usr/sbin", "/usr/local/sbin")
NAMES = ["mariadb-data", "mariadb", "database", "scheduler"]


@pytest.fixture(scope="module")
def dotnet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Found]:
    """Return the .NET service, or skip."""
    with found_dotnet(tmp_path_factory.mktemp("dotnet")) as found:
        yield found


@pytest.fixture(scope="module", autouse=True)
def mariadb() -> None:
    """Skip where there is no MariaDB."""
    path = os.pathsep.join([os.environ["PATH"], *SERVER_FOLDERS])
    for program in ("mariadbd", "mariadb-install-db", "mariadb-admin", "mariadb"):
        if shutil.which(program, path=path) is None:
            pytest.skip(f"no {program}: install MariaDB's server (Debian: mariadb-server)")


@pytest.fixture
def example(tmp_path: Path, dotnet: Found) -> Iterator[Stack]:
    """Copy the example, with the .NET service to be found from it."""
    with stack(tmp_path / "project", {}) as made:
        put(made, dotnet)
        yield made


def put(one: Stack, dotnet: Found) -> None:
    shutil.copytree(EXAMPLE, one.folder, dirs_exist_ok=True)
    # ASP.NET keeps keys in its home, which is not the user's here.
    content = one.file.read_text()
    one.file.write_text(content.replace("TZ: UTC", 'HOME: "${DOTNET_HOME}"\n      TZ: UTC', 1))
    home = one.folder / "dotnet-home"
    home.mkdir()
    path = os.pathsep.join([str(Path(dotnet.host).parent), os.environ["PATH"], *SERVER_FOLDERS])
    store = str(one.folder / "conversations.json")
    own = {"PATH": path, "SCHEDULER_DLL": str(dotnet.dll), "Store__Path": store}
    one.environ |= {**QUIET_DOTNET, **own, "DOTNET_HOME": str(home)}


def up(one: Stack) -> None:
    ran = one.run("up", "-d", "--wait", within_s=90)
    assert ran.code == 0, (ran, one.log("mariadb-data"), one.log("mariadb"), one.log("database"))


def secret(one: Stack, name: str) -> str:
    return str(json.loads((one.state_dir / "secrets.json").read_text())[name])


def query(one: Stack, sql: str, password: str | None = None) -> Ran:
    """Ask the database over TCP as the scheduler's user, as the scheduler does."""
    port = one.service("mariadb")["url"].rpartition(":")[2]
    password = secret(one, "database_password") if password is None else password
    options = ["--no-defaults", "--host=127.0.0.1", f"--port={port}", "--user=scheduler"]
    done = subprocess.run(
        ["mariadb", *options, "--batch", "--skip-column-names", "scheduler", "-e", sql],
        env={**os.environ, "MYSQL_PWD": password},
        capture_output=True,
        text=True,
        timeout=10,
        check=False,
    )
    return Ran(done.returncode, done.stdout.strip(), done.stderr)


def test_everything_comes_up_in_its_order_and_the_made_user_can_log_in(
    example: Stack, dotnet: Found
) -> None:
    up(example)
    found = example.ps()
    assert [found[name]["state"] for name in NAMES] == [*("completed", "running") * 2]
    assert found["mariadb"]["health"] == found["scheduler"]["health"] == "healthy"
    assert found["scheduler"]["command"][:2] == [dotnet.host, str(dotnet.dll)]
    log = (example.folder / "logs/orchestrator.log").read_text()
    ready = [
        *("mariadb-data: running → completed", "mariadb: starting → running"),
        *("database: running → completed", "scheduler: starting → running"),
    ]
    places = [log.index(line) for line in ready]
    assert places == sorted(places)

    asked = query(example, "SELECT CURRENT_USER(), DATABASE()")
    assert (asked.code, asked.out) == (0, "scheduler@localhost\tscheduler"), asked
    for wrong in ("", "guessed"):
        refused = query(example, "SELECT 1", wrong)
        assert refused.code != 0
        assert "Access denied" in refused.err

    checked = example.run("scheduler", "check")
    assert checked.code == 0, checked
    environ = Path(f"/proc/{found['scheduler']['pid']}/environ").read_bytes().split(b"\0")
    password = secret(example, "database_password")
    port = found["mariadb"]["url"].rpartition(":")[2]
    connection = f"Server=127.0.0.1;Port={port};Database=scheduler;User=scheduler"
    assert f"ConnectionStrings__DefaultConnection={connection};Password={password}".encode() in (
        environ
    )
    for path in (example.folder / "logs").glob("*.log"):
        assert password not in path.read_text(errors="replace"), path


def test_data_outlive_a_down_and_a_kill_of_the_database(example: Stack) -> None:
    up(example)
    password = secret(example, "database_password")
    made = query(example, "CREATE TABLE kept (word TEXT); INSERT INTO kept VALUES ('before')")
    assert made.code == 0, made
    first = example.service("mariadb")["pid"]
    example.down()
    assert not is_alive(first)
    assert example.survivors() == set()
    assert b"Shutdown complete" in example.log("mariadb")

    up(example)
    assert secret(example, "database_password") == password
    assert b"data is there" in example.log("mariadb-data")
    assert query(example, "INSERT INTO kept VALUES ('between'); SELECT * FROM kept").out == (
        "before\nbetween"
    )
    scheduler = example.service("scheduler")["pid"]
    before = example.service("mariadb")
    os.kill(before["pid"], signal.SIGKILL)
    again = example.wait_for(
        "mariadb", lambda it: it["run"] > before["run"] and it["health"] == "healthy", within_s=30
    )
    assert again["restarts"] == 1
    assert b"recover" in example.log("mariadb")
    assert query(example, "SELECT * FROM kept").out == "before\nbetween"
    assert example.service("scheduler")["pid"] == scheduler
    example.down()
    assert example.survivors() == set()


def test_a_shut_down_from_inside_the_database_does_not_end_it_for_good(example: Stack) -> None:
    up(example)
    options = ["--no-defaults", "--socket=data/mysqld.sock", "shutdown"]
    subprocess.run(["mariadb-admin", *options], cwd=example.folder, check=True, timeout=10)
    example.wait_for("mariadb", lambda it: it["run"] == 2 and it["health"] == "healthy", 30)


def test_quartz_tables_are_made_once_from_the_file_beside_it(example: Stack) -> None:
    schema = example.folder / "quartz.sql"
    schema.write_text("CREATE TABLE QRTZ_LOCKS (LOCK_NAME VARCHAR(40) NOT NULL);\n")
    up(example)
    assert b"made the tables of quartz.sql" in example.log("database")
    assert query(example, "SHOW TABLES").out == "QRTZ_LOCKS"
    example.run("restart", "database")
    example.wait_for_log("database", b"Quartz's tables are there")


def test_a_data_folder_that_was_made_by_half_is_made_anew(example: Stack) -> None:
    half = example.folder / "data.new"
    half.mkdir()
    (half / "ibdata1").write_bytes(b"torn")
    up(example)
    assert not half.exists()
    assert query(example, "SELECT 1").out == "1"


@pytest.mark.skipif(os.getuid() != 0, reason="only root can be somebody else")
def test_root_leaves_the_database_to_its_own_user_where_that_one_gets_to_it(
    dotnet: Found,
) -> None:
    try:
        user = pwd.getpwnam("mysql")
    except KeyError:
        pytest.skip("there is no user mysql")
    # Not tmp_path: it lies in a folder that only its owner can enter.
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        with stack(Path(folder) / "project", {}) as one:
            put(one, dotnet)
            up(one)
            pid = one.service("mariadb")["pid"]
            assert Path(f"/proc/{pid}").stat().st_uid == user.pw_uid
            assert query(one, "SELECT 1").out == "1"
            one.down()
            wait_until(lambda: not is_alive(pid))


@pytest.mark.skipif(os.getuid() != 0, reason="only root can be somebody else")
def test_a_plain_user_runs_it_as_itself() -> None:
    with tempfile.TemporaryDirectory() as folder:
        os.chown(folder, 65534, 65534)
        make_it = ["python3", str(Path(folder) / "mariadb.py"), "make", f"{folder}/data"]
        shutil.copy(EXAMPLE / "mariadb.py", folder)
        made = subprocess.run(
            make_it, user=65534, group=65534, extra_groups=[], capture_output=True, text=True
        )
        assert made.returncode == 0, made
        assert "which belongs to nobody" in made.stdout
        assert (Path(folder) / "data").stat().st_uid == 65534
