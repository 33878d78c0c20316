"""Which etcd is started, and what people are told when there is none."""

from __future__ import annotations

from pathlib import Path

import pytest

from leasehold.protocol.etcd import binary
from leasehold.protocol.etcd.binary import EtcdNotFound, find_etcd


def program(path: Path, version: str) -> Path:
    """Something that says it is etcd. (It has to be a script, so it is taken only where it is named.)"""
    path.write_text(f"#!/bin/sh\necho 'etcd Version: {version}'\n")
    path.chmod(0o755)
    return path


def test_the_named_program_is_taken(tmp_path: Path) -> None:
    named = program(tmp_path / "my-etcd", "3.6.1")
    found = find_etcd({"LEASEHOLD_ETCD": str(named), "PATH": ""})
    assert (found.path, found.version, found.source) == (named, "3.6.1", "LEASEHOLD_ETCD")


def test_a_script_on_the_path_is_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path / "etcd", "3.6.1")
    monkeypatch.setattr(binary, "_embedded", lambda: None)
    with pytest.raises(EtcdNotFound, match="no etcd on the PATH"):
        find_etcd({"PATH": str(tmp_path)})


def test_a_named_program_that_is_missing_or_is_not_etcd_is_an_error_and_not_passed_over(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_text("#!/bin/sh\necho hello\n")
    other.chmod(0o755)
    with pytest.raises(EtcdNotFound, match="cannot be started"):
        find_etcd({"LEASEHOLD_ETCD": str(tmp_path / "missing")})
    with pytest.raises(EtcdNotFound, match="hello"):
        find_etcd({"LEASEHOLD_ETCD": str(other)})
