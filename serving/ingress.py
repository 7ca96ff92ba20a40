"""Ray's OpenAiIngress, with errors that say nothing of what is inside the cluster, and API keys where wanted."""

from typing import Any

from fastapi import HTTPException
from ray.llm._internal.serve.core.configs.openai_api_models import OpenAIHTTPException
from ray.llm._internal.serve.utils.server_utils import get_response_for_error, get_serve_request_id
from ray.serve.llm.ingress import OpenAiIngress as RayOpenAiIngress
from starlette.responses import JSONResponse, Response

from serving.auth.application import protect


class OpenAiIngress(RayOpenAiIngress):
    """Named as Ray's own, so that deployments, logs and metrics keep their names.

    Ray's (2.59.0) answers `{"detail": ...}` to the name of a model that it does not know, where clients of OpenAI's API
    look for `error.message`. To a request whose engine dies it tells the traceback, with paths and addresses.
    """

    app: Any
    """The FastAPI app. Ray sets it, on a subclass of this class that it makes."""

    def __init__(self, *args: Any, api_keys: str | None = None, **kwargs: Any) -> None:
        """`api_keys` is as in `serving.auth.key_file.load`; None asks for none."""
        super().__init__(*args, **kwargs)
        self._api_keys = api_keys

    async def __serve_build_asgi_app__(self) -> Any:
        return protect(self.app, self._api_keys) if self._api_keys else self.app

    async def _process_llm_request(self, *args: Any, **kwargs: Any) -> Response:
        try:
            return await super()._process_llm_request(*args, **kwargs)
        except Exception as error:
            return self._told(error)

    def _told(self, error: Exception) -> Response:
        """The answer that a client gets for an error."""
        if isinstance(error, OpenAIHTTPException):
            return error_response(error.status_code, error.message, error.type)
        request_id = get_serve_request_id()
        told = get_response_for_error(error, request_id).error  # which logs it
        if told.code == 500:
            told.message = f"The model failed to answer. Its logs say why, at request {request_id}."
        return error_response(told.code, told.message, told.type)

    async def _get_model_id(self, model: str | None) -> str:
        try:
            return await super()._get_model_id(model)
        except HTTPException as error:
            kind = "NotFoundError" if error.status_code == 404 else "BadRequestError"
            raise OpenAIHTTPException(error.status_code, str(error.detail), kind) from None


def error_response(status: int, message: str, kind: str) -> JSONResponse:
    """An error in the form of vLLM's own server."""
    return JSONResponse({"error": {"message": message, "type": kind, "param": None, "code": status}}, status)
