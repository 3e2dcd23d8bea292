"""Text from services.yaml of which some parts are known only when a service starts."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic_core import core_schema

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler

# What would be read as a reference or as `$$` if it stood in the file as it is.
_DOLLARS = re.compile(r"\$+(?=\{)|\${2,}")
_DOLLARS_BEFORE_REF = re.compile(r"\$+(?=\{)|\${2,}|\$\Z")


@dataclass(frozen=True, slots=True)
class Ref:
    """A reference that is replaced at the start of a service: ``PORT``, ``services.db.url``."""

    path: tuple[str, ...]

    def __str__(self) -> str:
        return "${" + ".".join(self.path) + "}"


@dataclass(frozen=True, slots=True)
class Template:
    """A text as literal pieces and references, in order. A piece is never read again.

    In the model of services.yaml a plain string stands for a template of one literal piece:
    the environment is replaced by the loader before the model sees it.
    """

    parts: tuple[str | Ref, ...]

    @classmethod
    def literal(cls, text: str) -> "Template":
        """Return a template that renders as exactly ``text``."""
        return cls((text,))

    @property
    def refs(self) -> tuple[Ref, ...]:
        """The references in it, in order, repeats included."""
        return tuple(part for part in self.parts if isinstance(part, Ref))

    def render(self, lookup: Callable[[Ref], str]) -> str:
        """Return the text with every reference replaced. Errors of ``lookup`` pass through."""
        return "".join(part if isinstance(part, str) else lookup(part) for part in self.parts)

    def __str__(self) -> str:
        """As it would stand in the file: references as ``${…}``, a literal ``${`` as ``$${``."""
        last = len(self.parts) - 1
        return "".join(
            written(part, before_ref=number < last) if isinstance(part, str) else str(part)
            for number, part in enumerate(self.parts)
        )

    @classmethod
    def __get_pydantic_core_schema__(
        cls, source: type[Any], handler: "GetCoreSchemaHandler"
    ) -> core_schema.CoreSchema:
        def parse(value: object) -> Template:
            return value if isinstance(value, Template) else cls.literal(parse_text(value))

        return core_schema.no_info_plain_validator_function(
            parse, serialization=core_schema.plain_serializer_function_ser_schema(str)
        )


def written(text: str, *, before_ref: bool = False) -> str:
    """Return a text as it must stand in services.yaml to be read as ``text``."""
    pattern = _DOLLARS_BEFORE_REF if before_ref else _DOLLARS
    return pattern.sub(lambda found: found[0] * 2, text)


def parse_text(value: object) -> str:
    """Return a text of the file; numbers as they were written there, 1.10 as ``1.10``.

    Raises:
        ValueError: it is something else.
    """
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        raise ValueError("must be text: put it in quotes")  # noqa: TRY004  pydantic's way
    if isinstance(value, int | float):
        return str(getattr(value, "text", value))
    raise ValueError("must be text")
