"""Texts of which some parts are known only at the start."""

import pytest
from pydantic import BaseModel, ValidationError

from orchestrator.spec.template import Ref, Template, parse_text, written


class Holder(BaseModel):
    text: Template


def test_a_template_is_rendered_piece_by_piece_and_never_read_again() -> None:
    template = Template(("<", Ref(("A",)), "${A}"))
    assert template.render(lambda ref: f"${{{ref.path[0]}}}") == "<${A}${A}"
    assert template.refs == (Ref(("A",)),)
    assert Template.literal("${A}").refs == ()


@pytest.mark.parametrize(
    ("template", "text"),
    [
        (Template.literal("a"), "a"),
        (Template.literal("$a$"), "$a$"),
        (Template.literal("${a}"), "$${a}"),
        (Template.literal("$$"), "$$$$"),
        (Template(("$", Ref(("PORT",)))), "$$${PORT}"),
        (Template((Ref(("a", "b")), "$")), "${a.b}$"),
        (Template(()), ""),
    ],
)
def test_a_template_is_shown_as_it_stands_in_the_file(template: Template, text: str) -> None:
    assert str(template) == text


def test_a_model_takes_templates_texts_and_numbers() -> None:
    template = Template((Ref(("PORT",)),))
    assert Holder(text=template).text is template
    assert Holder.model_validate({"text": "${A}"}).text == Template.literal("${A}")
    assert Holder.model_validate({"text": 5}).text == Template.literal("5")
    assert Holder(text=template).model_dump(mode="json") == {"text": "${PORT}"}


@pytest.mark.parametrize(("value", "said"), [(True, "put it in quotes"), (None, "must be text")])
def test_a_model_takes_nothing_else(value: object, said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Holder.model_validate({"text": value})


def test_a_text_is_text_or_a_number() -> None:
    assert parse_text("a") == "a"
    assert parse_text(1.5) == "1.5"
    assert written("$${") == "$$$${"
