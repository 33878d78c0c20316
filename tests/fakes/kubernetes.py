"""A Kubernetes API server in memory, as far as a webhook needs it: Secrets, webhook configurations, namespaces.

Resource versions guard every write, as in the real one. ``admit`` does to a pod what an API server does: it asks each
webhook that selects it, over TLS, trusting nobody but the ``caBundle`` of the configuration, and applies the patch.
What it does not do: validate, default, watch.
"""

from __future__ import annotations

import base64
import copy
import json
import ssl
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import aiohttp
from aiohttp import web
from jsonpatch import JsonPatch, JsonPatchException

TOKEN = "a-token"
ADMISSION = "/apis/admissionregistration.k8s.io/v1"


class NotReached(Exception):
    """A webhook could not be asked; what the pod gets is the ``failurePolicy``'s to say."""


@dataclass
class FakeKubernetes:
    """Objects by path. ``calls`` is what was asked; ``refuse`` maps path beginnings to a status to answer with."""

    objects: dict[str, dict[str, Any]] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    refuse: dict[str, int] = field(default_factory=dict)
    version: int = 100
    url: str = ""

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    # --- what people do ---

    def put(self, path: str, document: dict[str, Any]) -> None:
        self.version += 1
        metadata = {**document.get("metadata", {}), "resourceVersion": str(self.version)}
        self.objects[path] = {**copy.deepcopy(document), "metadata": metadata}

    def namespace(self, name: str, labels: Mapping[str, str] | None = None) -> None:
        self.put(f"/api/v1/namespaces/{name}", {"metadata": {"name": name, "labels": dict(labels or {})}})

    def webhooks(self, name: str = "leasehold-control-plane", service: str = "leasehold-control-plane") -> None:
        """A configuration as a chart makes it: without a ``caBundle``."""
        client = {"service": {"name": service, "namespace": "leasehold-system", "path": "/v1/inject", "port": 8443}}
        foreign = {"service": {"name": "another", "namespace": "x", "path": "/"}, "caBundle": "aGlzIG93bg=="}
        webhooks = [{"name": "inject.leasehold.dev", "clientConfig": client},
                    {"name": "inject-pods.leasehold.dev", "clientConfig": copy.deepcopy(client)},
                    {"name": "foreign", "clientConfig": foreign}]  # fmt: skip
        self.put(
            f"{ADMISSION}/mutatingwebhookconfigurations/{name}", {"metadata": {"name": name}, "webhooks": webhooks}
        )

    def bundles(self, name: str = "leasehold-control-plane") -> list[bytes]:
        """Whom API servers trust, webhook by webhook."""
        configuration = self.objects[f"{ADMISSION}/mutatingwebhookconfigurations/{name}"]
        return [base64.b64decode(one["clientConfig"].get("caBundle", "")) for one in configuration["webhooks"]]

    async def admit(self, review: Any, port: int, name: str = "leasehold-control-plane.leasehold-system.svc") -> Any:
        """What an API server does with a new pod: the pod with the patch applied, and the answer."""
        trust = ssl.create_default_context(cadata=self.bundles()[0].decode() or None)
        try:
            async with (
                aiohttp.ClientSession() as client,
                client.post(
                    f"https://127.0.0.1:{port}/v1/inject", json=review, ssl=trust, server_hostname=name
                ) as answer,
            ):
                if answer.status != 200:
                    raise NotReached(f"{answer.status}: {await answer.text()}")
                response = (await answer.json())["response"]
        except (aiohttp.ClientError, ssl.SSLError) as error:
            raise NotReached(str(error)) from error
        assert response["uid"] == review["request"]["uid"]
        patch = json.loads(base64.b64decode(response["patch"])) if "patch" in response else []
        return JsonPatch(patch).apply(review["request"]["object"]), response

    # --- what it answers ---

    async def _answer(self, request: web.Request) -> web.Response:
        self.calls.append(f"{request.method} {request.path}")
        for beginning, status in self.refuse.items():
            if request.path.startswith(beginning):
                return _status(status, "refused by the test")
        if request.method == "POST":
            return self._create(request.path, await request.json())
        there = self.objects.get(request.path)
        if there is None:
            return _status(404, f"{request.path} not found")
        if request.method == "GET":
            return web.json_response(there)
        if request.method == "PUT":
            return self._replace(request.path, there, await request.json())
        return self._patch(request.path, there, await request.json(), request.content_type)

    def _create(self, collection: str, document: dict[str, Any]) -> web.Response:
        path = f"{collection}/{document['metadata']['name']}"
        if path in self.objects:
            return _status(409, f"{path} already exists")
        document["metadata"]["uid"] = uuid.uuid4().hex
        self.put(path, document)
        return web.json_response(self.objects[path], status=201)

    def _replace(self, path: str, there: dict[str, Any], document: dict[str, Any]) -> web.Response:
        version = document["metadata"].get("resourceVersion")
        if version is not None and version != there["metadata"]["resourceVersion"]:
            return _status(409, "the object has been modified; please apply your changes to the latest version")
        self.put(path, document)
        return web.json_response(self.objects[path])

    def _patch(self, path: str, there: dict[str, Any], operations: Any, kind: str) -> web.Response:
        if kind != "application/json-patch+json":
            return _status(415, f"no {kind} here")
        try:
            self.put(path, JsonPatch(operations).apply(there))
        except JsonPatchException as error:
            return _status(422, f"the server rejected our request due to an error in our request: {error}")
        return web.json_response(self.objects[path])


def _status(code: int, message: str) -> web.Response:
    return web.json_response({"kind": "Status", "status": "Failure", "message": message, "code": code}, status=code)
