"""Events as HTTP POSTs, in structured mode: one event, one request, confirmed by a 2xx.

- Redirects are not followed; nothing of an answer is read but its status and ``Retry-After``.
- 400, 413, 415 and 422 say that the event itself will not do. Everything else says nothing about it: it is sent again.
- ``headers_file`` holds what proves who we are, a ``Name: value`` on each line. It is read again whenever it changed,
  and what is in it appears in no log, no error text and no event.
"""

from __future__ import annotations

import ssl
from pathlib import Path

import aiohttp

from leasehold.control_plane.events.cloudevents import CONTENT_TYPE, CloudEvent
from leasehold.control_plane.events.port import Refused, Undelivered
from leasehold.control_plane.owners.outcome import retry_after
from leasehold.shell.headers_file import HeadersFile

_THE_EVENT_IS_WRONG = frozenset({400, 413, 415, 422})


class Webhook:
    """``port.Sink`` by HTTP."""

    name = "webhook"

    def __init__(self, url: str, headers: HeadersFile | None, ca: Path | None, timeout_seconds: float) -> None:
        self._url, self._headers, self._ca, self._timeout = url, headers, ca, timeout_seconds
        self._session: aiohttp.ClientSession | None = None

    async def deliver(self, event: CloudEvent) -> None:
        try:
            headers = {**(self._headers.read() if self._headers else {}), "Content-Type": CONTENT_TYPE}
            if event.traceparent is not None:
                headers["traceparent"] = event.traceparent
            async with self._ready().post(
                self._url, data=event.body, headers=headers, allow_redirects=False
            ) as response:  # fmt: skip
                self._judge(response, event)
        except TimeoutError as error:
            raise Undelivered("timeout", f"no answer within {self._timeout:g} s") from error
        except aiohttp.ClientConnectorError as error:
            raise Undelivered("unreachable", f"{type(error).__name__}: {error}") from error  # names host and port
        except aiohttp.ClientError as error:
            # Of others only the kind: some quote the URL, and what is in its path may be all that proves who we are.
            raise Undelivered("unreachable", type(error).__name__) from error
        except (OSError, ValueError) as error:
            raise Undelivered("misconfigured", str(error)) from error

    async def close(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def _judge(self, response: aiohttp.ClientResponse, event: CloudEvent) -> None:
        status = response.status
        if 200 <= status < 300:
            return
        if status in _THE_EVENT_IS_WRONG:
            raise Refused(f"{status} for {event.id}")
        raise Undelivered(
            f"status-{status}",
            f"POST {status}",
            retry_after(response.headers.get("Retry-After"), response.headers.get("Date")),
        )

    def _ready(self) -> aiohttp.ClientSession:
        if self._session is None:
            context = ssl.create_default_context(cafile=str(self._ca) if self._ca is not None else None)
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(ssl=context, limit=64),
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=self._timeout),
            )
        return self._session
