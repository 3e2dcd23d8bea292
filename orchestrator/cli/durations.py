"""Durations on the command line."""

import click

from orchestrator.spec.quantities import parse_duration


class _Seconds(click.ParamType[float]):
    name = "duration"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Return seconds for `10`, `500ms`, `1m30s`."""
        try:
            return parse_duration(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


SECONDS = _Seconds()
