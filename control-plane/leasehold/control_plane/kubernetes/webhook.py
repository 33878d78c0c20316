"""Answers the API server's question about an owner or a rule as an object: allowed, or what is wrong with it."""

from __future__ import annotations

import json
from collections.abc import Mapping

import structlog
from aiohttp import web

from leasehold.control_plane.kubernetes.review import BadReview, validate_review
from leasehold.control_plane.metrics import Metrics

PATH = "/v1/validate"
log = structlog.get_logger()


class ValidatingWebhook:
    """The handler, for the application that is served over TLS. Whatever goes wrong on our side is an error to the API
    server, which then does what the webhook's ``failurePolicy`` says."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def routes(self) -> list[web.RouteDef]:
        return [web.post(PATH, self.handle)]

    async def handle(self, request: web.Request) -> web.Response:
        """One review."""
        try:
            body = json.loads(await request.read())
            if not isinstance(body, dict):
                raise BadReview(f"expected an object, got {type(body).__name__}")
            answer = validate_review(body)
        except web.HTTPRequestEntityTooLarge as error:
            log.warning("validation_failed", reason="too-large", detail=str(error.text))
            return self._answered("too-large", {"error": "too-large", "message": str(error.text)}, 413)
        except (BadReview, ValueError) as error:
            log.warning("validation_failed", reason="bad-review", detail=str(error))
            return self._answered("bad-review", {"error": "bad-review", "message": str(error)}, 400)
        except Exception as error:
            log.exception("validation_crashed")
            told = {"error": "crashed", "message": f"{type(error).__name__}: {error}"}
            return self._answered("crashed", told, 500)
        return self._answered("allowed" if answer["response"]["allowed"] else "denied", answer)

    def _answered(self, result: str, answer: Mapping[str, object], status: int = 200) -> web.Response:
        self._metrics.validations.labels(result).inc()
        return web.json_response(answer, status=status)
