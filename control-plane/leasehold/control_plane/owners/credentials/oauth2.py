"""A token by OAuth2 client credentials (RFC 6749, 4.4), kept until shortly before it expires.

Laws:

- One fetch serves everybody who waits for it. It has a deadline of its own, and goes on when one of them gives up.
- A token that the owner turned away is dropped, once, and another one is fetched; whoever was turned away with an older
  token than the one we have merely takes that one.
- Of the server's answer nothing is quoted but its status and an error code from the standard's alphabet.
"""

from __future__ import annotations

import asyncio
import json
import re
import ssl
from base64 import b64encode
from collections.abc import Callable, Mapping
from urllib.parse import quote_plus

import aiohttp

from leasehold.control_plane.owners.credentials.port import NoCredential, Outgoing
from leasehold.control_plane.owners.credentials.secret_file import SecretFile
from leasehold.control_plane.owners.outcome import Verdict, retry_after
from leasehold.protocol.rules import OAuth2

LARGEST_ANSWER_BYTES = 65536
UNTOLD_SECONDS = 300.0
"""How long a token is used whose server does not say."""
LONGEST_SECONDS = 86400.0
MARGIN_SECONDS = 30.0
"""Before its end (or a fifth of its life, if that is less) a token is fetched anew: the owner's clock is another."""
_ERROR_CODE = re.compile(r"[a-z_]{1,40}")
_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")


class ClientCredentials:
    """One owner's token."""

    def __init__(self, oauth2: OAuth2, now: Callable[[], float] | None = None) -> None:
        self._oauth2 = oauth2
        self._secret = SecretFile("auth.oauth2.client_secret_file", oauth2.client_secret_file)
        self._now = now
        self._token = ""
        self._good_until = float("-inf")
        self._fetching: asyncio.Task[None] | None = None

    async def prove(self, request: Outgoing) -> Outgoing:
        if not self._token or self._instant() >= self._good_until:
            await self._fetched()
        return request.with_headers({"Authorization": f"Bearer {self._token}"})

    def turned_away(self, request: Outgoing) -> bool:
        if request.headers.get("Authorization") == f"Bearer {self._token}":
            self._token = ""
        return True

    async def close(self) -> None:
        fetching, self._fetching = self._fetching, None
        if fetching is not None:
            fetching.cancel()
            await asyncio.wait({fetching})

    # --- fetching -------------------------------------------------------------------------------------------------

    async def _fetched(self) -> None:
        if self._fetching is None or self._fetching.done():
            self._fetching = asyncio.create_task(self._fetch(), name="oauth2 token")
            # Should all who wait have given up, nobody asks what became of it.
            self._fetching.add_done_callback(lambda task: task.cancelled() or task.exception())
        fetching = self._fetching
        await asyncio.wait({fetching})
        if fetching.cancelled():
            raise NoCredential(Verdict.UNKNOWN, "the token server was not asked: closing")
        fetching.result()

    async def _fetch(self) -> None:
        secret, context, asked_at = self._secret.read(), self._context(), self._instant()
        try:
            async with asyncio.timeout(float(self._oauth2.timeout)):
                status, headers, body = await self._post(secret, context)
        except TimeoutError as error:
            problem = f"the token server gave no answer within {self._oauth2.timeout:g} s"
            raise NoCredential(Verdict.UNKNOWN, problem) from error
        except (ssl.SSLError, aiohttp.ClientSSLError) as error:
            raise NoCredential(Verdict.MISCONFIGURED, f"token server, TLS: {type(error).__name__}") from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise NoCredential(Verdict.UNKNOWN, f"token server: {type(error).__name__}") from error
        if status != 200:
            raise _refusal(status, headers, body)
        self._token, seconds = _read(body)
        # From when it was asked for: it cannot have been made earlier.
        self._good_until = asked_at + seconds - min(MARGIN_SECONDS, seconds / 5)

    def _context(self) -> ssl.SSLContext | bool:
        if self._oauth2.ca is None:
            return True
        try:
            return ssl.create_default_context(cafile=self._oauth2.ca)
        except OSError as error:
            raise NoCredential(Verdict.MISCONFIGURED, f"auth.oauth2.ca {self._oauth2.ca}: {error}") from error

    async def _post(self, secret: str, context: ssl.SSLContext | bool) -> tuple[int, Mapping[str, str], bytes]:
        oauth2 = self._oauth2
        form = {"grant_type": "client_credentials", **oauth2.parameters}
        if oauth2.scope:
            form["scope"] = oauth2.scope
        headers = {"Accept": "application/json"}
        if oauth2.secret_in_body:
            form |= {"client_id": oauth2.client_id, "client_secret": secret}
        else:
            pair = f"{quote_plus(oauth2.client_id)}:{quote_plus(secret)}".encode()
            headers["Authorization"] = f"Basic {b64encode(pair).decode()}"
        # Once in a while, so a session of its own is cheap, and a changed ``ca`` is taken up.
        async with (
            aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session,
            session.post(oauth2.token_url, data=form, headers=headers, allow_redirects=False, ssl=context) as answer,
        ):
            body = bytearray()
            async for chunk in answer.content.iter_any():
                body += chunk
                if len(body) > LARGEST_ANSWER_BYTES:
                    raise ValueError("too large")
            return answer.status, answer.headers, bytes(body)

    def _instant(self) -> float:
        return self._now() if self._now is not None else asyncio.get_running_loop().time()


def _refusal(status: int, headers: Mapping[str, str], body: bytes) -> NoCredential:
    try:
        code = json.loads(body)["error"]
    except (ValueError, KeyError, TypeError):
        code = ""
    said = f" {code}" if isinstance(code, str) and _ERROR_CODE.fullmatch(code) else ""
    problem = f"the token server answered {status}{said}"
    if status in {429, 503}:
        return NoCredential(Verdict.WAIT, problem, retry_after(headers.get("Retry-After"), headers.get("Date")))
    later = status >= 500 or status == 408 or code in {"temporarily_unavailable", "server_error"}
    return NoCredential(Verdict.UNKNOWN if later else Verdict.MISCONFIGURED, problem)


def _read(body: bytes) -> tuple[str, float]:
    try:
        answer = json.loads(body)
        token, kind, seconds = answer["access_token"], answer["token_type"], answer.get("expires_in", UNTOLD_SECONDS)
        good = kind.lower() == "bearer" and _TOKEN.fullmatch(token) is not None and float(seconds) > 0
    except (ValueError, KeyError, TypeError, AttributeError):
        good = False
    if not good:
        raise NoCredential(Verdict.MISCONFIGURED, "expected a bearer token with a lifetime from the token server")
    return token, min(float(seconds), LONGEST_SECONDS)
