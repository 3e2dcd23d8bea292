"""The wire: the server on the unix socket and its client. Imported by the faces and cli."""
