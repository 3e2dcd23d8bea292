"""One loop that owns every status and carries decisions out. Imported by control and cli."""
