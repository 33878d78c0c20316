"""A signature of each request, as AWS and many an object store want it (SigV4), made by botocore.

Laws:

- What is signed is what is sent: method, address, and every header that we set.
- botocore may look for its keys on disk or over the network, so it is asked in a thread of its own, one per owner.
- The path is encoded as strictly as the store does it when it checks the signature: an id with ``+`` or ``:`` would
  else get a signature that never fits.
"""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from leasehold.control_plane.owners.credentials.port import NoCredential, Outgoing
from leasehold.control_plane.owners.credentials.secret_file import SecretFile
from leasehold.control_plane.owners.outcome import Verdict
from leasehold.protocol.rules import Aws

_UNSIGNED = frozenset({"user-agent", "accept", "accept-encoding"})


class AwsSignature:
    """One owner's."""

    def __init__(self, aws: Aws) -> None:
        self._aws = aws
        self._files = [
            SecretFile(f"auth.aws.{name}", getattr(aws, name))
            for name in ("access_key_id_file", "secret_access_key_file", "session_token_file")
            if getattr(aws, name) is not None
        ]
        self._chain: Any = None
        self._closed = False
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="aws-signature")

    async def prove(self, request: Outgoing) -> Outgoing:
        if self._closed:
            raise NoCredential(Verdict.UNKNOWN, "nothing was signed: closing")
        request = replace(request, url=strictly_encoded(request.url))
        return request.with_headers(await asyncio.get_running_loop().run_in_executor(self._thread, self._sign, request))

    def turned_away(self, request: Outgoing) -> bool:  # noqa: ARG002 - each request is signed with what is newest
        return False

    async def close(self) -> None:
        self._closed = True
        self._thread.shutdown(wait=False, cancel_futures=True)

    # --- in the thread --------------------------------------------------------------------------------------------

    def _sign(self, request: Outgoing) -> dict[str, str]:
        try:
            from botocore import auth, awsrequest, credentials, exceptions
        except ImportError as error:
            raise NoCredential(
                Verdict.MISCONFIGURED, "auth.aws needs botocore, which is not installed: leasehold[aws]"
            ) from error
        # At its most talkative it logs requests with their session tokens.
        logging.getLogger("botocore").setLevel(logging.WARNING)
        try:
            keys = credentials.Credentials(*(file.read() for file in self._files)) if self._files else self._found()
        except (exceptions.BotoCoreError, OSError) as error:
            raise NoCredential(Verdict.UNKNOWN, f"botocore, looking for keys: {type(error).__name__}") from error
        signer = auth.S3SigV4Auth if self._aws.service == "s3" else auth.SigV4Auth
        signed = {name: value for name, value in request.headers.items() if name.lower() not in _UNSIGNED}
        made = awsrequest.AWSRequest(method=request.method, url=request.url, headers=signed)
        signer(keys, self._aws.service, self._aws.region).add_auth(made)
        return {str(name): str(value) for name, value in made.headers.items()}

    def _found(self) -> Any:
        from botocore import session

        if self._chain is None:
            self._chain = session.get_session().get_credentials()
        if self._chain is None:
            raise NoCredential(Verdict.MISCONFIGURED, "botocore found no AWS credentials, and auth.aws names no files")
        return self._chain.get_frozen_credentials()


def strictly_encoded(url: str) -> str:
    """The same address, with everything in its path encoded but letters, digits, ``-._~`` and slashes."""
    parts = urlsplit(url)
    path = "/".join(quote(unquote(segment), safe="-._~") for segment in parts.path.split("/"))
    return parts._replace(path=path).geturl()
