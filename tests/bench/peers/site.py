"""Where a comparison takes place: a folder, the backend, etcd; on loopback, or in two network namespaces with a wire.

The backend is one real nginx and, for uploads, a sink that counts. It shares the load tools' cores, as etcd does.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from leasehold.protocol.etcd.binary import find_etcd
from tests.bench.peers import configs
from tests.bench.peers.run import LOAD_CORES, DidNotStart, Running, free_port, program, started
from tests.integration.namespaces import OWNER4, Namespace, wired

LOOPBACK = "127.0.0.1"


@dataclass(frozen=True)
class Site:
    """``here`` stands before each command of the app's side; it is empty on loopback."""

    folder: Path
    owner: str
    plain_port: int
    """The backend's HTTP/1.1."""
    captured_port: int
    """The same server once more: where there is capture, this one is captured and the other is not."""
    h2_port: int
    sink_port: int
    etcd: Running
    etcd_endpoint: str
    app: Namespace | None = None

    @property
    def here(self) -> tuple[str, ...]:
        return tuple(self.app.command()) if self.app else ()

    def write(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.write_text(text)
        return path


@contextmanager
def on_loopback(folder: Path) -> Iterator[Site]:
    with _site(folder, LOOPBACK, None, None) as site:
        yield site


@contextmanager
def on_a_wire(folder: Path) -> Iterator[Site]:
    """Namespaces are made, and gone afterwards. Raises ``pytest.skip.Exception`` where that is not permitted."""
    with wired() as (app, owner), _site(folder, OWNER4, app, owner) as site:
        yield site


@contextmanager
def _site(folder: Path, host: str, app: Namespace | None, owner: Namespace | None) -> Iterator[Site]:
    folder.mkdir()
    folder.chmod(0o755)  # nginx's worker is another user
    ports = [free_port() for _ in range(6)]
    plain, captured, h2, sink, client, peer = ports
    text = configs.NGINX_BACKEND.format(folder=folder, host=host, port=plain, other_port=captured, h2_port=h2)
    (folder / "backend.conf").write_text(text)
    there = owner.command() if owner else []
    nginx = program("nginx")
    if nginx is None:
        raise DidNotStart("nginx is needed as the backend; `make bench-data-plane` installs it")
    log = folder / "backend.log"
    with ExitStack() as stack:
        command = [*there, nginx, "-c", str(folder / "backend.conf")]
        stack.enter_context(started(command, log, core=LOAD_CORES, port=plain))
        command = [*there, sys.executable, "-m", "tests.bench.peers.sink", host, str(sink)]
        stack.enter_context(started(command, folder / "sink.log", core=LOAD_CORES, port=sink))
        command = [*(app.command() if app else ()), *_etcd(folder, client, peer)]
        etcd = stack.enter_context(started(command, folder / "etcd.log", core=LOAD_CORES, port=client))
        yield Site(folder, host, plain, captured, h2, sink, etcd, f"http://{LOOPBACK}:{client}", app)


def _etcd(folder: Path, client: int, peer: int) -> list[str]:
    """Without fsync: what the disk of this machine can do is not the question."""
    here, between = f"http://{LOOPBACK}:{client}", f"http://{LOOPBACK}:{peer}"
    return [
        str(find_etcd().path), "--name=bench", f"--data-dir={folder / 'etcd'}", f"--listen-client-urls={here}",
        f"--advertise-client-urls={here}", f"--listen-peer-urls={between}",
        f"--initial-advertise-peer-urls={between}", f"--initial-cluster=bench={between}",
        "--log-level=error", "--unsafe-no-fsync",
    ]  # fmt: skip
