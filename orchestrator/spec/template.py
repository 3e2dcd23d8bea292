"""Text from services.yaml of which some parts are known only when a service starts."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema


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
        return "".join(
            part.replace("${", "$${") if isinstance(part, str) else str(part) for part in self.parts
        )

    @classmethod
    def __get_pydantic_core_schema__(
        cls, source: type[Any], handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        def parse(value: object) -> Template:
            if isinstance(value, Template):
                return value
            if isinstance(value, bool):
                raise ValueError(f'must be text; write "{str(value).lower()}" in quotes')  # noqa: TRY004
            if isinstance(value, str | int | float):
                # A number of the file knows how it was written there: 1.10 is not 1.1.
                return cls.literal(str(getattr(value, "text", value)))
            raise ValueError("must be text")

        return core_schema.no_info_plain_validator_function(
            parse, serialization=core_schema.plain_serializer_function_ser_schema(str)
        )

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {"type": ["string", "number"]}
