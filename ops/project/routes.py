"""The routes of the OpenAI API that our commands ask."""

from typing import Literal

CHAT, RESPONSES, MODELS = "/v1/chat/completions", "/v1/responses", "/v1/models"
Route = Literal["/v1/chat/completions", "/v1/responses", "/v1/models"]
