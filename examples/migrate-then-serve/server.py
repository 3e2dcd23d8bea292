"""Answer /notes from the database."""

import json
import sqlite3
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

path, port = sys.argv[1], int(sys.argv[2])


class Notes(BaseHTTPRequestHandler):
    """One answer for all that is asked."""

    def do_GET(self) -> None:
        """Send all notes as JSON."""
        database = sqlite3.connect(path)
        notes = [text for (text,) in database.execute("SELECT text FROM notes")]
        database.close()
        body = json.dumps(notes).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


ThreadingHTTPServer(("127.0.0.1", port), Notes).serve_forever()
