"""What an API server does with a new pod, beside ``FakeApiServer``: namespaces, webhook configurations, admission.

``admit`` asks a webhook over TLS, trusting nobody but the ``caBundle`` of the configuration, and applies the patch.
"""

from __future__ import annotations

import base64
import copy
import json
import ssl
from collections.abc import Mapping
from typing import Any

import aiohttp
from jsonpatch import JsonPatch

from tests.fakes.api_server import FakeApiServer

ADMISSION = "/apis/admissionregistration.k8s.io/v1"


class NotReached(Exception):
    """A webhook could not be asked; what the pod gets is the ``failurePolicy``'s to say."""


class FakeKubernetes(FakeApiServer):
    """An API server that admits pods."""

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
