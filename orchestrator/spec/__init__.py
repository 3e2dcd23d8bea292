"""What services.yaml says: model, loading, templates. Imports nothing of ours but errors."""
