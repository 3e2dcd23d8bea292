"""Make the database; running it again changes nothing."""

import sqlite3
import sys

with sqlite3.connect(sys.argv[1]) as database:
    database.execute("CREATE TABLE IF NOT EXISTS notes (text TEXT UNIQUE)")
    database.execute("INSERT OR IGNORE INTO notes VALUES ('welcome')")
database.close()
