"""``rules check`` reads descriptor sets where it can, and says where it cannot."""

from __future__ import annotations

from pathlib import Path

from click.testing import CliRunner

from leasehold.cli.operate.rules import check
from leasehold.protocol.configuration import EX_CONFIG
from tests.fakes.grpc_owner import descriptor_set, grpc_rules


def checked(tmp_path: Path, schema: bytes | None, *, old: str = "", new: str = "") -> tuple[int, str]:
    place = tmp_path / "blobs.pb"
    if schema is not None:
        place.write_bytes(schema)
    file = tmp_path / "rules.yaml"
    file.write_text(grpc_rules("http://blobs.test", place).replace(old, new))
    result = CliRunner().invoke(check, [str(file)])
    return result.exit_code, result.output.replace(str(tmp_path), "")


def test_what_the_descriptor_set_has_is_fine(tmp_path: Path) -> None:
    assert checked(tmp_path, descriptor_set()) == (0, "/rules.yaml: fine (1 owner, 2 rules)\n")


def test_every_name_it_does_not_have_is_a_mistake_with_its_place(tmp_path: Path) -> None:
    code, said = checked(tmp_path, descriptor_set(), old="field: uid", new="field: uuid")
    assert code == EX_CONFIG
    assert "2 mistakes" in said
    assert "/rules.yaml: owners[0].read.incarnation.grpc.field: message blobs.v1.Blob has no field 'uuid'" in said
    assert "/rules.yaml: rules[0].incarnation.grpc.field: message blobs.v1.Blob has no field 'uuid'" in said


def test_a_file_that_is_not_here_is_no_mistake_but_said(tmp_path: Path) -> None:
    code, said = checked(tmp_path, None, old="DeleteBlob", new="DropBlob")
    assert code == 0
    assert "warning: owner store: descriptor_set /blobs.pb cannot be read here" in said


def test_a_file_that_is_no_descriptor_set_is_a_mistake(tmp_path: Path) -> None:
    code, said = checked(tmp_path, b"\xff")
    assert code == EX_CONFIG
    assert "owners[0].descriptor_set: expected what protoc" in said
