"""Whatever people can write or are told is in the document that explains it."""

from __future__ import annotations

import re
from pathlib import Path

import leasehold.injection.decision as decision
from leasehold.control_plane.config_webhook import WebhookSection
from leasehold.injection.settings import InjectSection
from leasehold.injection.wishes import ANNOTATIONS

DOCUMENT = (Path(__file__).parents[3] / "docs" / "kubernetes.md").read_text()
SOURCES = Path(decision.__file__).parent


def test_every_annotation_is_documented_and_no_other() -> None:
    documented = {f"leasehold.dev/{name}" for name in re.findall(r"leasehold\.dev/([a-z-]+)`", DOCUMENT)}
    shortened = {"leasehold.dev/cpu-limit", "leasehold.dev/memory-limit"}  # written as `-limit`
    assert set(ANNOTATIONS) - documented <= shortened
    others = {"leasehold.dev/inject", "leasehold.dev/injected", "leasehold.dev/status", "leasehold.dev/revision"}
    assert documented - set(ANNOTATIONS) <= others


def test_every_reason_and_every_finding_is_documented() -> None:
    text = "".join(path.read_text() for path in SOURCES.glob("*.py"))
    codes = set(re.findall(r'(?:Refusal|Finding)\(\s*"([a-z-]+)"', text)) - {"injected", "already-injected"}
    assert len(codes) > 25
    assert {code for code in codes if f"`{code}`" not in DOCUMENT} == set()


def test_every_setting_is_documented() -> None:
    fields = {*InjectSection.__struct_fields__, *WebhookSection.__struct_fields__}
    assert {field for field in fields if re.search(rf"\b{field}\b", DOCUMENT) is None} == set()
