"""Answers the API server's question about a pod: with a patch, or with nothing and perhaps a warning.

A body has a bound, an answer a deadline. Whatever goes wrong on our side is an error to the API server, which then does
what the webhook's ``failurePolicy`` says; nothing that we decide ever rejects a pod.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import structlog
from aiohttp import web

from leasehold.control_plane.inject.namespaces import Namespaces
from leasehold.control_plane.inject.review import Answer, BadReview, Question, read_review, write_review
from leasehold.control_plane.kubernetes.api_server import ApiError
from leasehold.control_plane.metrics import Metrics
from leasehold.injection.decision import Refusal
from leasehold.injection.injecting import Injection, inject
from leasehold.injection.pod import Namespace, Pod
from leasehold.injection.settings import Settings
from leasehold.protocol.rules import Owner

PATH = "/v1/inject"
DEADLINE_SECONDS = 4.0
"""Less than the API server's own, so that it hears our reason and not its silence."""
MOST_BYTES = 8 * 1024 * 1024
"""More than any object that an API server takes."""
KnownOwners = Callable[[], Sequence[Owner] | None]
"""The owners whose calls are to be captured, as far as known now."""
log = structlog.get_logger()


class Webhook:
    """The handler. It owns nothing."""

    def __init__(self, settings: Settings, owners: KnownOwners, namespaces: Namespaces, metrics: Metrics) -> None:
        self._settings, self._owners, self._namespaces, self._metrics = settings, owners, namespaces, metrics

    def routes(self) -> list[web.RouteDef]:
        """For the application that is served over TLS."""
        return [web.post(PATH, self.handle)]

    async def handle(self, request: web.Request) -> web.Response:
        """One review."""
        with self._metrics.admission_seconds.time():
            try:
                question = read_review(await request.read())
                async with asyncio.timeout(DEADLINE_SECONDS):
                    answer = await self.answer(question)
            except BadReview as error:
                return self._failed(400, "bad-review", str(error))
            except web.HTTPRequestEntityTooLarge:
                return self._failed(413, "too-large", f"expected at most {MOST_BYTES} bytes")
            except TimeoutError:
                return self._failed(504, "too-late", f"not decided within {DEADLINE_SECONDS:g} s")
            except Exception as error:
                log.exception("review_crashed")
                return self._failed(500, "crashed", f"{type(error).__name__}: {error}")
            return web.json_response(write_review(question, answer))

    async def answer(self, question: Question) -> Answer:
        """What to do about it."""
        if question.kind != "Pod" or question.operation != "CREATE":
            self._count("not-a-new-pod")
            return Answer()
        try:
            labels = await self._namespaces.labels(question.namespace)
        except ApiError as error:
            self._count("namespace-unknown")
            log.warning("pod_left_alone", namespace=question.namespace, reason="namespace-unknown", error=str(error))
            return Answer(warnings=["not injected: the labels of the namespace could not be read (namespace-unknown)"])
        pod = Pod(question.object, Namespace(question.namespace, labels))
        result = inject(pod, self._settings, self._owners())
        return self._injected(pod, result) if isinstance(result, Injection) else self._left_alone(pod, result)

    def _injected(self, pod: Pod, injection: Injection) -> Answer:
        self._count("injected")
        log.info("pod_injected", namespace=pod.namespace.name, pod=pod.name, service=injection.service)
        return Answer(injection.operations, injection.notes, {"injected": injection.service})

    def _left_alone(self, pod: Pod, refusal: Refusal) -> Answer:
        self._count(refusal.code)
        tell = log.warning if refusal.asked else log.debug
        tell("pod_left_alone", namespace=pod.namespace.name, pod=pod.name, reason=refusal.code, detail=refusal.reason)
        # API servers cut what is long: the code comes first, the hint last.
        told = f"not injected ({refusal.code}): {refusal.reason}{f'; {refusal.hint}' if refusal.hint else ''}"
        warnings = [told] if refusal.asked else []
        return Answer(warnings=warnings, audit={"left-alone": refusal.code})

    def _failed(self, status: int, code: str, told: str) -> web.Response:
        self._count(code)
        log.warning("review_failed", reason=code, detail=told)
        return web.json_response({"error": code, "message": told}, status=status)

    def _count(self, result: str) -> None:
        self._metrics.admissions.labels(result).inc()
