"""Make MariaDB's data folder, or serve it: `make FOLDER`, `serve FOLDER PORT`."""

import os
import pwd
import shutil
import subprocess
import sys
from pathlib import Path


def program(name: str) -> str:
    """Return the path of a program; daemons lie where a plain user's PATH does not look."""
    path = os.pathsep.join([os.environ["PATH"], "/usr/sbin", "/usr/local/sbin"])
    found = shutil.which(name, path=path)
    if found is None:
        sys.exit(f"there is no {name}: install MariaDB's server (Debian: mariadb-server)")
    return found


def owner_for(folder: Path) -> str:
    """Return who shall own the data: root hands it to mysql, if that user can get to it."""
    me = pwd.getpwuid(os.getuid()).pw_name
    if os.getuid() != 0 or "mysql" not in [user.pw_name for user in pwd.getpwall()]:
        return me
    looking = ["/usr/bin/test", "-d", folder.absolute()]
    looked = subprocess.run(looking, user="mysql", group="mysql", extra_groups=[])
    return "mysql" if looked.returncode == 0 else me


def make(data: Path) -> None:
    """Make the folder, if there is none; a folder with that name is always a whole one."""
    if data.exists():
        print(f"{data} is there")
        return
    new = data.with_suffix(".new")
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(mode=0o700)
    owner = owner_for(new)
    # Who runs the stack administers the database, by the socket and without a password.
    admin = pwd.getpwuid(os.getuid()).pw_name
    options = [f"--datadir={new.absolute()}", f"--user={owner}", "--skip-test-db"]
    options += ["--auth-root-authentication-method=socket", f"--auth-root-socket-user={admin}"]
    command = [program("mariadb-install-db"), "--no-defaults", *options]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        sys.exit(f"{command[0]} failed:\n{done.stdout}")
    new.rename(data)
    print(f"made {data}, which belongs to {owner}")


def serve(data: Path, port: str) -> None:
    """Become the server, as the one to whom the data belong."""
    options = [
        f"--datadir={data.absolute()}",
        f"--user={pwd.getpwuid(data.stat().st_uid).pw_name}",
        # Of the data folder, in which the server works: a socket's path may have 107 bytes.
        "--socket=mysqld.sock",
        "--pid-file=mysqld.pid",
        "--bind-address=127.0.0.1",
        f"--port={port}",
        "--character-set-server=utf8mb4",
    ]
    # No defaults: those of the system's own MariaDB name its folders and its user.
    os.execv(program("mariadbd"), ["mariadbd", "--no-defaults", *options])


if __name__ == "__main__":
    action, folder, *more = sys.argv[1:]
    {"make": make, "serve": serve}[action](Path(folder), *more)
