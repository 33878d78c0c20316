"""Where the API may listen, and with what proof."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from leasehold.control_plane.operator.config import OperatorSection
from leasehold.protocol.configuration import convert


def problems(folder: Path, **section: Any) -> list[str]:
    return [path for path, _ in convert(OperatorSection, section, "file").nonsense(folder)]


@pytest.mark.parametrize("listen", ["127.0.0.1:1", "[::1]:1", "localhost:1", "127.9.9.9:0"])
def test_on_loopback_nothing_more_is_needed(tmp_path: Path, listen: str) -> None:
    assert problems(tmp_path, listen=listen) == []


@pytest.mark.parametrize("listen", ["0.0.0.0:1", "[::]:1", "10.0.0.1:1", "somewhere:1", "127.0.0.1.evil.example:1"])
def test_beyond_loopback_proof_and_tls_are_needed(tmp_path: Path, listen: str) -> None:
    (tmp_path / "tokens").write_text("")
    assert problems(tmp_path, listen=listen) == ["operator", "operator.tls"]
    assert problems(tmp_path, listen=listen, tokens="tokens") == ["operator.tls"]
    assert problems(tmp_path, listen=listen, tokens="tokens", plaintext=True) == []
    assert problems(tmp_path, listen="127.0.0.1:1", http=listen) == ["operator", "operator.tls"]


def test_every_mistake_is_named(tmp_path: Path) -> None:
    (tmp_path / "tokens").write_text("ci root * sha256:00\n")
    found = problems(
        tmp_path, listen="here", http="127.0.0.1:no", subjects={"ops": "root"}, tokens="tokens",
        token_review={"roles": {"group:ops": "king"}}, tls={"cert": "a", "key": "b"},
    )  # fmt: skip
    assert found == [
        "operator.listen", "operator.http", "operator.subjects", "operator.subjects.ops",
        "operator.token_review.roles.group:ops", "operator.tls.cert", "operator.tls.key", "operator.tokens",
    ]  # fmt: skip
