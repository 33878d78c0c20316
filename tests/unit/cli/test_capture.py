"""What is redirected: the table's text, the addresses in it, and what is refused. No kernel, no names looked up."""

from __future__ import annotations

import ipaddress
import json
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from leasehold.cli.__main__ import main
from leasehold.cli.capture import probe
from leasehold.cli.capture.addresses import (
    REMEMBERED_SECONDS,
    Owners,
    Protected,
    endpoints_of,
    host_and_port,
    protected_etcd,
    refuse_ourselves,
    refuse_protected,
)
from leasehold.cli.capture.ruleset import Endpoint, Exempt, Plan, read_back, replacement
from leasehold.cli.target import Failure
from leasehold.protocol.rules import Owner

RULES = """
owners: [{name: store, hosts: ["10.0.0.2:8000", "[fd00::2]"], endpoint: "http://10.0.0.2:8000"}]
"""


def at(text: str) -> Endpoint:
    host, port = host_and_port(text)
    return Endpoint(ipaddress.ip_address(host), port)


def owner(*hosts: str, name: str = "store") -> Owner:
    return Owner(name, hosts, "http://store")


class Names:
    """A resolver: addresses are themselves, names are what the test says."""

    def __init__(self, **known: Sequence[str]) -> None:
        self.known = known

    def __call__(self, host: str) -> Sequence[str]:
        try:
            return [str(ipaddress.ip_address(host))]
        except ValueError:
            if host in self.known:
                return self.known[host]
            raise OSError("no such name") from None


def test_a_table_redirects_the_owners_and_exempts_the_sidecar() -> None:
    owners = {at("10.0.0.20:80"): ["store"], at("10.0.0.3:8080"): ["a", "b"], at("[fd00::2]:80"): ["store"]}
    assert (
        replacement(Plan(15001, Exempt(1337, 1338, 0x1EA5E), owners))
        == """\
table inet leasehold
delete table inet leasehold
table inet leasehold {
	set owners4 {
		type ipv4_addr . inet_service
		elements = {
			10.0.0.3 . 8080 comment "a b",
			10.0.0.20 . 80 comment "store"
		}
	}
	set owners6 {
		type ipv6_addr . inet_service
		elements = {
			fd00::2 . 80 comment "store"
		}
	}
	chain output {
		type nat hook output priority -100; policy accept;
		meta skuid 1337 return
		meta skgid 1338 return
		meta mark 0x1ea5e return
		ip daddr . tcp dport @owners4 counter redirect to :15001
		ip6 daddr . tcp dport @owners6 counter redirect to :15001
	}
}
"""
    )


def test_only_what_is_exempt_is_named_and_an_empty_set_has_no_elements() -> None:
    text = replacement(Plan(1, Exempt(gid=5), {}))
    assert "skgid 5 return" in text
    assert "skuid" not in text
    assert "mark" not in text
    assert "elements" not in text


def test_no_name_gets_a_line_of_its_own_into_the_table() -> None:
    text = replacement(Plan(1, Exempt(1), {at("10.0.0.1"): ['x" } flush ruleset', "good"]}))
    assert 'comment "good"' in text
    assert "flush" not in text


@pytest.mark.skipif(shutil.which("nft", path="/usr/sbin:/sbin:/usr/bin") is None, reason="nft is not installed")
def test_nft_can_read_the_table() -> None:
    text = replacement(Plan(15001, Exempt(0, 0, 1), {at("10.0.0.1"): ["a"], at("[fd00::1]:9"): ["b"]}))
    nft = str(shutil.which("nft", path="/usr/sbin:/sbin:/usr/bin"))
    done = subprocess.run([nft, "--check", "-f", "-"], input=text, capture_output=True, text=True, check=False)
    if "not permitted" in done.stderr:
        pytest.skip("nft may not even check here")
    assert (done.returncode, done.stderr) == (0, "")


def test_what_the_kernel_has_is_read_back() -> None:
    def rule(*expressions: dict[str, Any]) -> dict[str, Any]:
        return {"rule": {"chain": "output", "expr": list(expressions)}}

    def exempt(key: str, number: int) -> dict[str, Any]:
        match = {"op": "==", "left": {"meta": {"key": key}}, "right": number}
        return rule({"match": match}, {"return": None})

    def redirect(name: str, packets: int) -> dict[str, Any]:
        match = {"op": "==", "left": {"concat": []}, "right": name}
        return rule({"match": match}, {"counter": {"packets": packets, "bytes": 1}}, {"redirect": {"port": 15001}})

    document = {
        "nftables": [
            {"metainfo": {}},
            {"table": {"name": "leasehold"}},
            {"set": {"name": "owners4", "elem": [{"elem": {"val": {"concat": ["10.0.0.2", 80]}, "comment": "a b"}}]}},
            {"set": {"name": "owners6", "elem": [{"concat": ["fd00::1", 81]}]}},
            {"set": {"name": "empty"}},
            {"chain": {"name": "output"}},
            exempt("skuid", 0),
            exempt("mark", 7),
            rule({"log": None}),
            redirect("@owners4", 5),
            redirect("@owners6", 6),
        ]
    }
    found = read_back(document)
    assert (found.listen_port, found.exempt) == (15001, Exempt(0, None, 7))
    assert found.owners == {at("10.0.0.2:80"): ("a", "b"), at("[fd00::1]:81"): ()}
    assert found.redirected == {4: 5, 6: 6}


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("blobs.internal", "blobs.internal", 80),
        ("blobs:8080", "blobs", 8080),
        ("10.0.0.1:81", "10.0.0.1", 81),
        ("[fd00::1]:81", "fd00::1", 81),
        ("[fd00::1]", "fd00::1", 80),
        ("fd00::1", "fd00::1", 80),
    ],
)
def test_a_host_without_a_port_means_80(text: str, host: str, port: int) -> None:
    assert host_and_port(text) == (host, port)


@pytest.mark.parametrize("text", ["", ":80", "a:port", "a:70000", "[fd00::1"])
def test_what_is_no_authority_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        host_and_port(text)


def test_an_ipv4_address_in_ipv6_clothes_is_ipv4() -> None:
    assert endpoints_of("b:80", Names(b=["::ffff:10.0.0.1", "fe80::1%eth0"])) == [at("10.0.0.1"), at("[fe80::1]")]


def test_addresses_seen_lately_stay_and_old_ones_go() -> None:
    names = Names(blobs=["10.0.0.1"])
    owners = Owners(names)
    assert set(owners.look([owner("blobs")], 0.0)[0]) == {at("10.0.0.1")}
    names.known["blobs"] = ["10.0.0.2"]
    assert set(owners.look([owner("blobs")], 10.0)[0]) == {at("10.0.0.1"), at("10.0.0.2")}
    assert set(owners.look([owner("blobs")], REMEMBERED_SECONDS + 1)[0]) == {at("10.0.0.2")}
    del names.known["blobs"]
    found, warnings = owners.look([owner("blobs")], REMEMBERED_SECONDS + 2)
    assert set(found) == {at("10.0.0.2")}, "a resolver in trouble costs no address"
    assert "blobs does not resolve" in warnings[0]


def test_an_owner_that_no_rule_names_any_more_goes_at_once() -> None:
    owners = Owners(Names())
    owners.look([owner("10.0.0.1"), owner("10.0.0.1", "10.0.0.2", name="other")], 0.0)
    found, _ = owners.look([owner("10.0.0.1")], 1.0)
    assert found == {at("10.0.0.1"): ["store"]}


def test_an_owner_without_any_address_is_a_failure_that_names_it() -> None:
    with pytest.raises(Failure, match=r"no address is known of lost: .*nowhere does not resolve"):
        Owners(Names()).look([owner("10.0.0.1"), owner("nowhere", name="lost")], 0.0)


def test_etcd_and_the_control_plane_are_never_redirected_whatever_they_are_called() -> None:
    names = Names(etcd=["10.0.0.9"])
    with pytest.raises(Failure, match=r"owner store is at 10.0.0.9:2379, where etcd \(etcd:2379\) is"):
        refuse_protected({at("10.0.0.9:2379"): ["store"]}, [protected_etcd("http://etcd:2379")], names)
    with pytest.raises(Failure, match="where the control plane"):
        refuse_protected({at("10.0.0.9"): ["store"]}, [Protected("the control plane", "etcd")], names)
    with pytest.raises(Failure, match="cannot be ruled out"):
        refuse_protected({at("10.0.0.9"): ["store"]}, [protected_etcd("https://gone:2379")], names)
    refuse_protected({at("10.0.0.9:2380"): ["store"]}, [protected_etcd("http://etcd:2379")], names)


def test_the_sidecar_itself_is_never_redirected() -> None:
    with pytest.raises(Failure, match="the sidecar itself listens there"):
        refuse_ourselves({at("127.0.0.1:15001"): ["store"]}, 15001)
    refuse_ourselves({at("127.0.0.1:15002"): ["store"], at("10.0.0.1:15001"): ["store"]}, 15001)


@pytest.fixture
def rules(tmp_path: Path) -> str:
    (tmp_path / "rules.yaml").write_text(RULES)
    return str(tmp_path / "rules.yaml")


def invoke(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(main, ["capture", *arguments])
    return result.exit_code, result.output


def test_a_dry_run_prints_the_table_and_needs_nothing(rules: str) -> None:
    status, said = invoke("install", "--rules", rules, "--uid", "1337", "--dry-run")
    assert status == 0
    assert "10.0.0.2 . 8000" in said
    status, said = invoke("install", "--rules", rules, "--uid", "1337", "--dry-run", "-o", "json")
    assert json.loads(said)["addresses"] == ["10.0.0.2:8000", "[fd00::2]:80"]


def test_port_mark_and_etcd_may_come_from_the_sidecars_configuration(rules: str, tmp_path: Path) -> None:
    config = tmp_path / "sidecar.yaml"
    config.write_text("""
etcd: {endpoints: ["http://10.0.0.3:2379"]}
capture: [{mode: upstream, listen: "x:1"}, {mode: transparent, listen: "[::1]:15009", mark: 5}]
""")
    status, said = invoke("install", "--rules", rules, "--config", str(config), "--dry-run")
    assert status == 0
    assert "meta mark 0x5 return" in said
    assert "redirect to :15009" in said
    config.write_text(config.read_text().replace("10.0.0.3:2379", "10.0.0.2:8000"))
    status, said = invoke("install", "--rules", rules, "--config", str(config), "--dry-run")
    assert status == 1
    assert "where etcd (10.0.0.2:8000) is" in said
    config.write_text("capture: [{mode: forward-proxy}]")
    assert invoke("install", "--rules", rules, "--config", str(config), "--dry-run")[0] == 1


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--uid", "1"), "exactly one of --rules FILE and --from-etcd"),
        (("--rules", "RULES", "--from-etcd", "--uid", "1"), "exactly one of --rules FILE and --from-etcd"),
        (("--rules", "RULES"), "expected --uid, --gid or --mark"),
        (("--rules", "RULES", "--uid", "1", "--watch", "30"), "expected a duration"),
        (("--rules", "RULES", "--uid", "1", "--watch", "10ms"), "at least 1s"),
    ],
)
def test_bad_usage_says_what_was_expected(rules: str, arguments: tuple[str, ...], expected: str) -> None:
    status, said = invoke("install", "--dry-run", *(rules if one == "RULES" else one for one in arguments))
    assert status == 2
    assert expected in said


def test_without_nft_it_says_so(rules: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda *_, **__: None)
    for arguments in (("install", "--rules", rules, "--uid", "1"), ("remove",), ("status",)):
        status, said = invoke(*arguments)
        assert status == 1
        assert "nft was not found" in said


def test_failing_open_an_owner_without_any_address_costs_the_others_nothing() -> None:
    owners = Owners(Names(there=["10.0.0.7"]), lenient=True)
    found, warnings = owners.look([owner("nowhere"), owner("there:81", name="other")], 0.0)
    assert list(found) == [at("10.0.0.7:81")]
    assert "owner store: host nowhere does not resolve" in warnings[0]


def test_failing_open_whatever_goes_wrong_is_told_and_the_program_may_start(tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text("owners: 7\n")
    (tmp_path / "rules.yaml").write_text(RULES.replace("10.0.0.2:8000", "127.0.0.1:2379"))
    for file, etcd in (("bad.yaml", "http://127.0.0.1:2379"), ("rules.yaml", "http://127.0.0.1:2379")):
        arguments = ("--etcd", etcd, "capture", "install", "--rules", str(tmp_path / file), "--uid", "7")
        assert CliRunner().invoke(main, (*arguments, "--dry-run")).exit_code in {1, 78}
        said = CliRunner().invoke(main, (*arguments, "--dry-run", "--fail-open"))
        assert said.exit_code == 0
        assert "what this program creates is not captured" in said.stderr
    bad_usage = CliRunner().invoke(main, ("capture", "install", "--fail-open", "--rules", str(tmp_path / "rules.yaml")))
    assert bad_usage.exit_code == 2, "how it is called is not what may go wrong in a pod"


@pytest.mark.parametrize(
    ("ended", "told"),
    [
        (ConnectionResetError(104, "Connection reset by peer"), None),
        (ConnectionRefusedError(111, "Connection refused"), "Connection refused"),
        (TimeoutError("timed out"), "timed out"),
    ],
)
def test_a_probe_that_was_accepted_and_then_reset_was_accepted(
    ended: OSError, told: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The owner behind the sidecar was away: whoever looks late sees the reset first, and no connection.
    def connect(*_: object, **__: object) -> None:
        raise ended

    monkeypatch.setattr(probe.socket, "create_connection", connect)
    assert probe._connect(at("10.0.0.1:80")) == told


def test_the_rules_may_be_in_a_variable() -> None:
    arguments = ("capture", "install", "--rules", "env:OWNERS", "--uid", "7", "--dry-run")
    said = CliRunner().invoke(main, arguments, env={"OWNERS": RULES})
    assert "10.0.0.2 . 8000" in said.stdout
