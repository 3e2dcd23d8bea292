"""What is published: URL discovery and config.json. Imported by supervise and above."""
