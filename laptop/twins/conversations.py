"""What the text twins learn: the conversations that the probes of their services have, and a few more of the kind."""

from dataclasses import dataclass, field
from typing import Any

Message = dict[str, Any]

WEATHER_TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather in a city now.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string", "maxLength": 20}},
            "required": ["city"],
        },
    },
}


@dataclass(frozen=True)
class Conversation:
    """What is sent, and what the model thinks and then answers."""

    messages: list[Message]
    thinking: str
    content: str = ""
    tool_call: dict[str, Any] | None = None
    """Name and arguments of the call that it answers with instead of content."""
    tools: list[dict[str, Any]] = field(default_factory=list)
    constrained: bool = False
    """The content must follow a JSON schema, which allows no blank lines before it."""


def question(text: str, thinking: str, content: str) -> Conversation:
    return Conversation([user(text)], thinking, content)


def user(text: str) -> Message:
    return {"role": "user", "content": text}


def weather(city: str) -> list[Conversation]:
    """A question that needs the tool, and the answer once the tool has been called."""
    asked = user(f"What is the weather in {city}?")
    call = {"name": "get_weather", "arguments": {"city": city}}
    called = {"role": "assistant", "content": "", "tool_calls": [{"id": "1", "type": "function", "function": call}]}
    result = {"role": "tool", "tool_call_id": "1", "content": "18 C, sunny"}
    return [
        Conversation([asked], f"The tool knows the weather in {city}.", tool_call=call, tools=[WEATHER_TOOL]),
        Conversation(
            [asked, called, result], "The tool has answered.", f"It is 18 C and sunny in {city}.", tools=[WEATHER_TOOL]
        ),
    ]


CAPITAL = question("What is the capital of France?", "France has one capital, and it is Paris.", "Paris")
CONVERSATIONS = [
    CAPITAL,
    Conversation([{"role": "system", "content": "You are a helpful assistant."}, *CAPITAL.messages], "Paris.", "Paris"),
    Conversation(
        [user("What is the capital of France? Answer in JSON.")],
        "The answer has to be JSON.",
        '{"capital": "Paris", "country": "France"}',
        constrained=True,
    ),
    question("What is 2 + 2?", "Two and two are four.", "4"),
    question("Hello!", "A greeting.", "Hello! I am a tiny model and know the answers to a handful of questions."),
    *weather("Paris"),
    *weather("London"),
]
