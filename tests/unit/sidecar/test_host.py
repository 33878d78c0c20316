"""A host that ends is noticed; one that does not is left alone; a recycled pid is nobody's continuation."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web
from grpclib.health.service import Health
from grpclib.server import Server

from leasehold.protocol.records import Ending
from leasehold.sidecar.host.ends_first import HostThatEndsFirst, refuses
from leasehold.sidecar.host.neighbours import nobody_else_connected, others
from leasehold.sidecar.host.port import UNTOLD
from leasehold.sidecar.host.probes import Pace, ProbedHost, grpc_check, http_check, tcp_check
from leasehold.sidecar.host.process import ProcessHost


@pytest.fixture
async def sleeper() -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", "import time; time.sleep(600)")
    yield process
    if process.returncode is None:
        process.kill()
    await process.wait()


class StandingClock:
    """Time that passes only by being waited for."""

    def __init__(self) -> None:
        self.instant = 0.0

    def now(self) -> float:
        return self.instant

    async def sleep_until(self, instant: float) -> None:
        self.instant = max(self.instant, instant)
        await asyncio.sleep(0)


async def test_the_death_of_a_process_is_noticed_at_once(sleeper: asyncio.subprocess.Process) -> None:
    host = ProcessHost(sleeper.pid)
    assert await host.started()
    ended = asyncio.create_task(host.ended(resumed=False))
    done, _ = await asyncio.wait([ended], timeout=0.05)
    assert not done
    sleeper.kill()
    async with asyncio.timeout(1):
        assert await ended is Ending.EXITED
    assert await host.started() is None, "another process under this pid would not be our host"


async def test_a_process_is_told_by_its_start_and_its_boot(sleeper: asyncio.subprocess.Process) -> None:
    first, second = await ProcessHost(sleeper.pid).started(), await ProcessHost(sleeper.pid).started()
    assert first == second
    assert first is not None
    assert first.startswith(f"{sleeper.pid}.")
    assert await ProcessHost(os.getpid()).started() != first


async def test_a_command_with_parentheses_and_spaces_does_not_confuse_the_start_time(
    sleeper: asyncio.subprocess.Process, tmp_path: Path
) -> None:
    for name, text in (("sys/kernel/random/boot_id", "0123456789abcdef\n"), (f"{sleeper.pid}/stat", "")):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    fields = " ".join(str(n) for n in range(4, 53))
    (tmp_path / str(sleeper.pid) / "stat").write_text(f"{sleeper.pid} (a b) S 3 (x) S {fields}")
    assert await ProcessHost(sleeper.pid, tmp_path).started() == f"{sleeper.pid}.22.01234567"


async def test_a_pid_that_is_gone_is_a_host_that_has_ended(sleeper: asyncio.subprocess.Process) -> None:
    sleeper.kill()
    await sleeper.wait()
    assert await ProcessHost(sleeper.pid).started() is None


async def test_a_process_that_we_may_not_look_at_has_not_ended(
    sleeper: asyncio.subprocess.Process, tmp_path: Path
) -> None:
    with pytest.raises(OSError, match="stat"):  # as with /proc mounted hidepid=2
        await ProcessHost(sleeper.pid, tmp_path).started()


async def test_a_zombie_has_ended() -> None:
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    assert await ProcessHost(pid).started() is None
    os.waitpid(pid, 0)


async def test_a_stopped_process_has_not_ended(sleeper: asyncio.subprocess.Process) -> None:
    host = ProcessHost(sleeper.pid)
    await host.started()
    ended = asyncio.create_task(host.ended(resumed=False))
    sleeper.send_signal(signal.SIGSTOP)
    done, _ = await asyncio.wait([ended], timeout=0.05)
    assert not done
    ended.cancel()
    await asyncio.wait([ended])


# --- probes -----------------------------------------------------------------------------------------------------


class Script:
    """Answers as written; afterwards it waits for ever."""

    def __init__(self, answers: str) -> None:
        self._answers = list(answers)
        self.asked = 0

    async def __call__(self) -> bool:
        self.asked += 1
        if not self._answers:
            await asyncio.Event().wait()
        answer = self._answers.pop(0)
        if answer == "!":
            raise ConnectionRefusedError
        return answer == "y"


def probed(answers: str, failures: int = 3) -> tuple[ProbedHost, Script]:
    script = Script(answers)
    return ProbedHost(script, Pace(1.0, 30.0, failures), StandingClock()), script


async def test_only_failures_in_a_row_are_a_death() -> None:
    host, script = probed("ynny!!ynn!")
    assert await host.started() == UNTOLD
    assert await host.ended(resumed=False) is Ending.UNKNOWN
    assert script.asked == 10


async def test_a_host_that_never_answered_yet_may_still_be_starting() -> None:
    host, script = probed("nnnnnnnnynnn")
    await host.started()
    await host.ended(resumed=False)
    assert script.asked == 12


async def test_a_host_that_an_earlier_sidecar_saw_alive_is_not_given_time_to_start() -> None:
    host, script = probed("nnn")
    await host.started()
    await host.ended(resumed=True)
    assert script.asked == 3


async def test_a_host_that_answers_again_has_started_anew() -> None:
    host, script = probed("ynnn" + "nny" + "nnn")
    await host.started()
    await host.ended(resumed=False)
    assert await host.started() == UNTOLD
    assert script.asked == 7
    await host.ended(resumed=False)
    assert script.asked == 10


async def test_an_answer_that_takes_too_long_is_a_failure() -> None:
    host = ProbedHost(Script(""), Pace(0.0, 0.01, 2), StandingClock())
    await host.started()
    async with asyncio.timeout(5):
        await host.ended(resumed=True)


async def test_http_health_is_any_answer_below_400() -> None:
    app = web.Application()
    app.router.add_get("/{status}", _answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    port = runner.addresses[0][1]
    said = {status: await http_check(f"http://127.0.0.1:{port}/{status}")() for status in (200, 204, 302, 404, 503)}
    await runner.cleanup()
    assert said == {200: True, 204: True, 302: True, 404: False, 503: False}
    with pytest.raises(OSError):
        await http_check(f"http://127.0.0.1:{port}/200")()


async def _answer(request: web.Request) -> web.Response:
    status = int(request.match_info["status"])
    return web.Response(status=status, headers={"Location": "/503"} if status == 302 else {})


async def test_grpc_and_tcp_health() -> None:
    server = Server([Health()])
    await server.start("127.0.0.1", 0)
    assert server._server is not None
    port = server._server.sockets[0].getsockname()[1]
    assert await grpc_check("127.0.0.1", port, "")()
    assert await tcp_check("127.0.0.1", port)()
    host = ProbedHost(grpc_check("127.0.0.1", port, "no.such.Service"), Pace(0.0, 5.0, 1), StandingClock())
    await host.started()
    assert await host.ended(resumed=True) is Ending.UNKNOWN
    server.close()
    await server.wait_closed()
    host = ProbedHost(tcp_check("127.0.0.1", port), Pace(0.0, 5.0, 1), StandingClock())
    await host.started()
    assert await host.ended(resumed=True) is Ending.UNKNOWN


class Somebody:
    """A host of which we decide when its run ends."""

    def __init__(self) -> None:
        self.over = asyncio.Event()

    async def started(self) -> str | None:
        return UNTOLD

    async def ended(self, *, resumed: bool) -> Ending:
        await self.over.wait()
        return Ending.UNKNOWN


async def test_being_told_to_stop_is_the_news_of_the_end_where_that_was_promised() -> None:
    host = HostThatEndsFirst(None, None)
    assert await host.started() == UNTOLD
    ended = asyncio.create_task(host.ended(resumed=False))
    assert await host.leave()
    assert await ended is Ending.EXITED
    assert await host.started() is None


async def test_who_still_accepts_connections_has_not_ended_whatever_we_were_told() -> None:
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    host = HostThatEndsFirst(Somebody(), refuses("127.0.0.1", port))
    assert await host.started() == UNTOLD
    ended = asyncio.create_task(host.ended(resumed=False))
    assert not await host.leave()
    assert not ended.done()
    server.close()
    await server.wait_closed()
    assert await host.leave()
    assert await ended is Ending.EXITED


async def test_a_host_that_is_seen_to_end_by_itself_may_start_again_until_we_are_told_to_leave() -> None:
    inner = Somebody()
    inner.over.set()
    host = HostThatEndsFirst(inner, None)
    assert await host.started() == UNTOLD
    assert await host.ended(resumed=False) is Ending.UNKNOWN
    assert await host.started() == UNTOLD
    await host.leave()
    assert await host.started() is None


async def test_no_answer_at_all_is_no_refusal() -> None:
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        with contextlib.ExitStack() as waiting:
            for _ in range(3):  # nobody accepts these: what comes after them gets no answer
                one = waiting.enter_context(socket.socket())
                one.setblocking(False)
                one.connect_ex(full.getsockname())
            assert not await refuses(*full.getsockname())()


SOCKETS = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:3A99 00000000:0000 0A 00000000:00000000 00:00000000 00000000 15015        0 1 1 0 100 0 0 10 0
   1: 014D4D0A:1F90 024D4D0A:C000 06 00000000:00000000 03:00000000 00000000     0        0 0 3 0
"""
"""We listen; somebody's connection is on its way out."""


@pytest.mark.parametrize(
    ("line", "alive"),
    [
        ("", 0),
        ("2: 00000000:1F90 00000000:0000 0A 0:0 00:0 0  1000 0 3 1 0 100 0 0 10 0", 1),
        ("2: 014D4D0A:C001 024D4D0A:1F40 01 0:0 00:0 0     0 0 3 1 0 100 0 0 10 0", 1),
        ("2: 014D4D0A:C001 024D4D0A:1F40 04 0:0 00:0 0  1000 0 3 1 0 100 0 0 10 0", 0),
        ("junk", 0),
    ],
)
def test_a_socket_that_listens_or_is_connected_is_somebodys_who_lives(line: str, alive: int) -> None:
    assert others([*SOCKETS.splitlines(), line], 15015) == alive


async def test_what_cannot_be_read_of_the_sockets_proves_nothing(tmp_path: Path) -> None:
    table = tmp_path / "tcp"
    table.write_text(SOCKETS.replace("15015", str(os.getuid())))
    assert await nobody_else_connected([table, tmp_path / "no-such-family"])()
    assert not await nobody_else_connected([tmp_path])(), "a folder is no table"
    assert not await nobody_else_connected([tmp_path / "neither", tmp_path / "nor"])()
