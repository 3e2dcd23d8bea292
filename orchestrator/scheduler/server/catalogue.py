"""The three tools as they describe themselves, in each of the service's shapes.

The names and words are the .NET service's.
"""

from dataclasses import dataclass

Json = dict[str, object]


@dataclass(frozen=True, slots=True)
class Parameter:
    """One argument of a tool, a text."""

    name: str
    description: str
    is_required: bool = True
    default: str | None = None


@dataclass(frozen=True, slots=True)
class Tool:
    """One tool; ``/mcp/tools`` describes it in other words than MCP does."""

    name: str
    title: str
    old_description: str
    description: str
    parameters: tuple[Parameter, ...]

    @property
    def input_schema(self) -> Json:
        """Return the JSON Schema of the arguments."""
        return {
            "type": "object",
            "properties": {p.name: _property(p) for p in self.parameters},
            "required": [p.name for p in self.parameters if p.is_required],
        }

    def as_tool(self) -> Json:
        """Return it as `/api/mcptools/tools` and MCP list it."""
        return {
            "name": self.name,
            "description": self.description,
            "inputSchema": self.input_schema,
        }

    def as_choice(self) -> Json:
        """Return it as `/mcp/tools` lists it."""
        return {
            "toolId": self.name,
            "toolName": self.title,
            "toolDescription": self.old_description,
            "toolParameters": [
                {
                    "name": p.name,
                    "description": p.description,
                    "type": "string",
                    "required": p.is_required,
                }
                for p in self.parameters
            ],
        }


def _property(parameter: Parameter) -> Json:
    known: Json = {"type": "string", "description": parameter.description}
    return known if parameter.default is None else {**known, "default": parameter.default}


SCHEDULE = Tool(
    "scheduleConversation",
    "Schedule Conversation",
    "Schedules a conversation to be delivered at a future time",
    "Schedules a conversation for future delivery",
    (
        Parameter("conversationText", "The text content to be sent"),
        Parameter(
            "scheduledTime",
            "The time when the conversation should be delivered (ISO 8601 format)",
        ),
        Parameter("endpoint", "The endpoint where the conversation should be delivered"),
        Parameter(
            "method",
            "The HTTP method for the delivery (GET, POST, PUT, etc.)",
            is_required=False,
            default="POST",
        ),
        Parameter(
            "additionalInfo", "Additional information about the conversation", is_required=False
        ),
    ),
)
STATUS = Tool(
    "getConversationStatus",
    "Get Conversation Status",
    "Gets the status of a scheduled conversation",
    "Gets the status of a scheduled conversation",
    (Parameter("conversationId", "The ID of the conversation"),),
)
CANCEL = Tool(
    "cancelConversation",
    "Cancel Conversation",
    "Cancels a scheduled conversation",
    "Cancels a scheduled conversation",
    (Parameter("conversationId", "The ID of the conversation to cancel"),),
)
TOOLS = (SCHEDULE, STATUS, CANCEL)
