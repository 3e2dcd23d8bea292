"""Make a database and its user: `database.py SOCKET [SCHEMA]`; running it again changes nothing."""

import os
import subprocess
import sys
from pathlib import Path


def text(value: str) -> str:
    """Return a value as SQL writes it."""
    return "'" + value.replace("\\", "\\\\").replace("'", "''") + "'"


def ask(socket: Path, sql: str, *words: str) -> str:
    """Run SQL as the administrator; by stdin: every user of the machine can read a command line."""
    # The folder is entered because a socket's path may have 107 bytes.
    command = ["mariadb", "--no-defaults", f"--socket={socket.name}", "--batch", *words]
    done = subprocess.run(
        command, cwd=socket.parent, input=sql, stdout=subprocess.PIPE, text=True, check=True
    )
    return done.stdout


def main(socket: Path, schema: Path | None) -> None:
    """Make what is missing."""
    database, user = os.environ["DATABASE"], os.environ["DATABASE_USER"]
    account = f"{text(user)}@'localhost'"
    password = text(os.environ["DATABASE_PASSWORD"])
    ask(
        socket,
        f"CREATE DATABASE IF NOT EXISTS `{database}` CHARACTER SET utf8mb4;"
        f"CREATE USER IF NOT EXISTS {account} IDENTIFIED BY {password};"
        # A data folder may be older than the secret.
        f"ALTER USER {account} IDENTIFIED BY {password};"
        f"GRANT ALL PRIVILEGES ON `{database}`.* TO {account};",
    )
    print(f"database {database} and user {user} are there")
    if ask(socket, "SHOW TABLES LIKE 'QRTZ%'", "--skip-column-names", database):
        print("Quartz's tables are there")
    elif schema is not None and schema.exists():
        ask(socket, schema.read_text(), database)
        print(f"made the tables of {schema.name}")
    else:
        print("Quartz's tables are not there, and no file to make them from: see README.md")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else None)
