"""Measurements of the installed program against its budgets; each is a script of its own."""
