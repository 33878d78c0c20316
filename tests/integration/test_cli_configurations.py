"""What the two daemons say of a bad file, as a stranger sees it: every mistake at once, exit code 78, no traceback."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from leasehold.protocol.configuration import EX_CONFIG

RULES = """
owners: [{name: store, hosts: ["store:80"], endpoint: "http://store"}]
rules:
  - {name: make, owner: store, type: blob, on: create, held_by: process, id: {json: id},
     match: {method: POST, path: /v1/blobs, status: [201]}}
"""
SIDECAR = """
service: media
etcd: {endpoints: ["https://127.0.0.1:2379"]}
host: {pid: 4242}
capture:
  - {mode: upstream, listen: "127.0.0.1:15080", to: "127.0.0.1:9000"}
rules: {file: rules.yaml}
journal: journal
"""


def checked(part: str, folder: Path, text: str) -> tuple[int, str]:
    """Exit code and stderr of ``--check``, asked from another folder than the file's."""
    (folder / "rules.yaml").write_text(RULES)
    path = folder / "written.yaml"
    path.write_text(text)
    command = [sys.executable, "-P", "-m", f"leasehold.{part}", "--config", str(path), "--check"]
    done = subprocess.run(command, cwd="/", capture_output=True, text=True, timeout=30, check=False)
    assert "Traceback" not in done.stderr
    return done.returncode, done.stderr.replace(f"{path}: ", "")


def test_an_item_of_a_wrong_form_shifts_no_numbers_and_hides_no_other(tmp_path: Path) -> None:
    ways = (
        '[forward-proxy, {mode: proxy, listen: 15002}, {mode: upstream, listen: "127.0.0.1:1", to: "a:0"}, {listen: b}]'
    )
    text = (
        SIDECAR.split("capture:", maxsplit=1)[0] + f"capture: {ways}\nrules: {{file: rules.yaml}}\njournal: journal\n"
    )
    code, told = checked("sidecar", tmp_path, text)
    assert code == EX_CONFIG
    places = {line.strip().split(": ")[0] for line in told.splitlines()[1:]}
    assert places == {"capture[0]", "capture[1].mode", "capture[1].listen", "capture[2].to", "capture[3].mode"}


@pytest.mark.parametrize("section", ["host", "rules"])
def test_a_section_of_a_wrong_form_is_one_mistake(tmp_path: Path, section: str) -> None:
    lines = [f"{section}: [1]" if line.startswith(section) else line for line in SIDECAR.splitlines()]
    code, told = checked("sidecar", tmp_path, "\n".join(lines))
    assert code == EX_CONFIG
    assert told.startswith("1 mistake in"), told


def test_a_field_nobody_knows_hides_no_mistake_beside_it(tmp_path: Path) -> None:
    text = SIDECAR.replace('2379"]}', '2379"], nonsense: 1, username: me}')
    _, told = checked("sidecar", tmp_path, text)
    assert "etcd.nonsense: not a field here" in told
    assert "etcd: expected username and password_file together" in told


def test_the_admin_address_belongs_to_nobody_else(tmp_path: Path) -> None:
    _, told = checked("sidecar", tmp_path, SIDECAR + 'admin: {listen: "127.0.0.1:15080"}\n')
    assert "capture[0].listen: expected each address once" in told


def test_files_are_looked_for_beside_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("")
    (tmp_path / "password").write_text("secret")
    more = '2379"], tls: {ca: ca.pem}, username: me, password_file: password}'
    assert checked("sidecar", tmp_path, SIDECAR.replace('2379"]}', more)) == (0, "")
    (tmp_path / "ca.pem").unlink()
    _, told = checked("sidecar", tmp_path, SIDECAR.replace('2379"]}', more))
    assert f"etcd.tls.ca: cannot be read: {tmp_path / 'ca.pem'}" in told


def test_the_control_plane_lists_every_mistake(tmp_path: Path) -> None:
    text = "tenant: a b\netcd: {endpoints: [x]}\nrules: {}\nhttp: {listen: here}\nlease: {ttl: 1s}\nnonsense: 1\n"
    code, told = checked("control_plane", tmp_path, text)
    assert code == EX_CONFIG
    assert told.startswith("6 mistakes in"), told
