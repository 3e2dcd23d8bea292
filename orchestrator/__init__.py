"""Process supervisor and development orchestrator for agent stacks."""

__version__ = "0.1.0"
