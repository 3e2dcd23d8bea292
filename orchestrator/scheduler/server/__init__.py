"""The embedded scheduler: a Python twin of the .NET McpScheduler service."""
