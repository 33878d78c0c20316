"""``leasehold run``: the configuration it derives, and the gate."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from leasehold.cli.run import gate
from leasehold.cli.run.configuration import derived, environment
from leasehold.cli.run.pair import GATE
from leasehold.protocol.configuration import BadConfiguration


def derive(text: str, pid: int = 1) -> str:
    return derived(text, Path("/etc/app/sidecar.yaml"), pid, {"JOURNALS": "/var/journals"})


def test_the_host_becomes_the_programs_pid_whatever_it_was() -> None:
    document = json.loads(derive("service: a\nhost: {http: {url: 'http://x'}}", 42))
    assert document["host"] == {"pid": 42}
    assert document["service"] == "a"


def test_a_forward_proxy_is_added_only_if_there_is_none() -> None:
    without = json.loads(derive("capture: [{mode: upstream, listen: 'a:1', to: 'b:2'}]"))["capture"]
    assert [capture["mode"] for capture in without] == ["upstream", "forward-proxy"]
    given = json.loads(derive("capture: [{mode: forward-proxy, listen: '127.0.0.1:15002'}]"))["capture"]
    assert given == [{"mode": "forward-proxy", "listen": "127.0.0.1:15002"}]
    assert json.loads(derive("service: a"))["capture"][0]["mode"] == "forward-proxy"


def test_what_was_relative_to_the_written_file_is_so_no_more() -> None:
    document = json.loads(derive("rules: {file: rules.yaml}\njournal: ${JOURNALS}/mine"))
    assert document["rules"] == {"file": "/etc/app/rules.yaml"}
    assert document["journal"] == "/var/journals/mine"
    assert json.loads(derive("rules: {etcd: true}"))["rules"] == {"etcd": True}
    etcd = json.loads(derive("etcd: {password_file: secret, tls: {ca: ca.pem, cert: /tls/me.pem}}"))["etcd"]
    assert etcd == {"password_file": "/etc/app/secret", "tls": {"ca": "/etc/app/ca.pem", "cert": "/tls/me.pem"}}


@pytest.mark.parametrize("text", ["etcd: 1", "etcd: {tls: [ca]}", "rules: rules.yaml", "journal: [a]"])
def test_what_is_no_file_is_left_to_the_sidecar_to_refuse(text: str) -> None:
    assert json.loads(derive(text))


def test_files_of_the_tls_to_owners_are_found_from_anywhere() -> None:
    way = "{mode: upstream, listen: 'a:1', to: 'b:2', tls: {ca: ca.pem, key: /k.pem, server_name: b, alpn: [h2]}}"
    tls = json.loads(derive(f"capture: [{way}, nonsense]"))["capture"][0]["tls"]
    assert tls == {"ca": "/etc/app/ca.pem", "key": "/k.pem", "server_name": "b", "alpn": ["h2"]}


@pytest.mark.parametrize("text", ["- a list", "text", ": ["])
def test_what_is_no_mapping_is_refused(text: str) -> None:
    with pytest.raises(BadConfiguration):
        derive(text)


def test_plain_http_goes_through_the_sidecar_loopback_included() -> None:
    env = environment(
        {"NO_PROXY": "localhost", "no_proxy": "*", "HTTPS_PROXY": "http://corp:1", "A": "b"}, "127.0.0.1:5"
    )
    assert env == {
        "HTTP_PROXY": "http://127.0.0.1:5", "http_proxy": "http://127.0.0.1:5", "HTTPS_PROXY": "http://corp:1", "A": "b"
    }  # fmt: skip


def through_the_gate(text: bytes, *arguments: str) -> tuple[int, str]:
    inner, outer = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", str(GATE), str(inner), *arguments], pass_fds=(inner,), stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    os.close(inner)
    with os.fdopen(outer, "wb") as pipe:
        pipe.write(text)
    out, err = process.communicate(timeout=20)
    return process.returncode, out.replace(str(process.pid), "PID") + err


def test_the_program_keeps_the_pid_of_its_gate_and_gets_its_environment() -> None:
    env = json.dumps({"PATH": os.environ["PATH"], "GREETING": "hello"}).encode()
    assert through_the_gate(env, "sh", "-c", "echo $$ $GREETING; exit 3") == (3, "PID hello\n")


def test_the_program_ignores_no_signal_that_it_would_not_have_ignored_by_itself() -> None:
    env = json.dumps({"PATH": os.environ["PATH"]}).encode()
    question = ("grep", "SigIgn", "/proc/self/status")
    by_itself = subprocess.run(question, capture_output=True, text=True, check=True).stdout
    assert through_the_gate(env, *question)[1] == by_itself


def test_an_abandoned_gate_never_opens(tmp_path: Path) -> None:
    assert through_the_gate(b"", "touch", str(tmp_path / "ran"))[0] == gate.ABANDONED
    assert not (tmp_path / "ran").exists()


def test_a_program_that_is_not_there_ends_with_127(tmp_path: Path) -> None:
    status, told = through_the_gate(b"{}", str(tmp_path / "none"))
    assert status == gate.NOT_FOUND
    assert "No such file" in told
    assert through_the_gate(b"{}", str(tmp_path))[0] == gate.NOT_EXECUTABLE
