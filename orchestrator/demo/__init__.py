"""The API server that the shipped services.yaml starts; a pattern to copy."""
