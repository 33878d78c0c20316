"""The ``kubernetes:`` section of the configuration."""

from __future__ import annotations

from pathlib import Path

import pytest

from leasehold.control_plane.config import load_config
from leasehold.protocol.configuration import BadConfiguration

BASE = 'etcd: {endpoints: ["http://e:1"]}\n'


@pytest.fixture(autouse=True)
def outside_of_a_pod(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)


def write(folder: Path, text: str) -> Path:
    (path := folder / "c.yaml").write_text(BASE + text)
    return path


def mistakes(folder: Path, text: str) -> dict[str, str]:
    with pytest.raises(BadConfiguration) as caught:
        load_config(write(folder, text))
    return {mistake.path: mistake.problem for mistake in caught.value.mistakes}


def test_without_the_section_no_api_server_is_asked(tmp_path: Path) -> None:
    assert load_config(write(tmp_path, "rules: {etcd: true}\n")).objects is None


@pytest.mark.parametrize(("host", "url"), [("10.0.0.1", "https://10.0.0.1:443"), ("fd00::1", "https://[fd00::1]:443")])
def test_in_a_pod_the_clusters_own_api_server_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, host: str, url: str
) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", host)
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    for name in ("token", "ca.crt"):
        (tmp_path / name).touch()
    config = load_config(write(tmp_path, "rules: {etcd: true}\nkubernetes: {objects: true, service_account: .}\n"))
    assert config.objects is not None
    access = config.objects.access
    assert (access.url, access.token_file, access.ca_file) == (url, tmp_path / "token", tmp_path / "ca.crt")


def test_without_tls_no_token_goes_along(tmp_path: Path) -> None:
    text = 'rules: {etcd: true}\nkubernetes: {objects: true, api: "http://127.0.0.1:8001/", selector: a=b}\n'
    config = load_config(write(tmp_path, text))
    assert config.objects is not None
    assert (config.objects.access.url, config.objects.access.token_file) == ("http://127.0.0.1:8001", None)
    assert config.objects.selector == "a=b"


def test_every_mistake_is_listed(tmp_path: Path) -> None:
    found = mistakes(
        tmp_path, 'rules: {file: r.yaml}\nkubernetes: {objects: true, api: "ftp://x", deadline: 0s, resync: 0s}\n'
    )  # fmt: skip
    assert {"kubernetes.api", "kubernetes.deadline", "kubernetes.resync", "rules.file"} <= found.keys()
    found = mistakes(tmp_path, "rules: {etcd: true}\nkubernetes: {objects: true}\n")
    assert "KUBERNETES_SERVICE_HOST" in found["kubernetes.api"]
    found = mistakes(
        tmp_path, "rules: {etcd: true}\nkubernetes: {objects: true, api: 'https://x', service_account: .}\n"
    )
    assert found["kubernetes.service_account"].startswith("cannot be read")
