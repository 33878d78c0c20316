"""The main job, with real processes: what is abandoned goes, what is held stays, wherever something dies."""

from __future__ import annotations

import asyncio
import time
from functools import partial

import pytest

from tests.e2e.conftest import free_port
from tests.e2e.harness import Process, Program, World, eventually, http_json
from tests.e2e.owner import Owner, rules

GRACE = 2.0
pytestmark = [pytest.mark.etcd, pytest.mark.slow]


async def pair(here: World, owner: Owner, text: str, name: str = "a", **options: str) -> tuple[Program, Process]:
    """A program and its sidecar in front of the owner."""
    port = free_port()
    program = await here.program(f"http://127.0.0.1:{port}")
    file = here.write(f"rules-{name}.yaml", text)
    sidecar = await here.sidecar(pid=program.pid, to=owner.address, rules=file, listen=port, name=name, **options)
    return program, sidecar


async def gone(owner: Owner, blob: str, within: float = 30.0) -> None:
    await eventually(f"{blob} is gone from the owner", lambda: blob not in owner.blobs, within)


async def settled(here: World) -> None:
    async def nothing_left() -> bool:
        return not await here.resources()

    await eventually("no record is left", nothing_left)


async def test_what_a_killed_process_abandoned_is_gone_within_two_graces(here: World, owner: Owner) -> None:
    await here.control_plane(here.write("rules.yaml", rules(owner)))
    program, _ = await pair(here, owner, rules(owner))
    blobs = [await program.create() for _ in range(5)]
    assert set((await here.resources()).values()) == {"held"}
    died = time.monotonic()
    await program.kill()
    for blob in blobs:
        await gone(owner, blob)
    took = time.monotonic() - died
    print(f"gone {took:.2f} s after the kill (grace {GRACE} s)")
    assert took >= GRACE, "swept before the grace was over"
    assert took < 1 + 2 * GRACE + 3
    await settled(here)
    assert sorted(owner.deletes()) == sorted(f"/v1/blobs/{blob}" for blob in blobs), "each was deleted exactly once"


async def test_with_the_sidecar_killed_too_the_lease_tells(here: World, owner: Owner) -> None:
    await here.control_plane(here.write("rules.yaml", rules(owner)))
    program, sidecar = await pair(here, owner, rules(owner), ttl="3s")
    blob = await program.create()
    died = time.monotonic()
    await asyncio.gather(sidecar.kill(), program.kill())
    await gone(owner, blob)
    took = time.monotonic() - died
    print(f"gone {took:.2f} s after both were killed (ttl 3 s, grace {GRACE} s)")
    assert took < 1 + 3 + 2 * GRACE + 3


async def test_a_clean_exit_abandons_as_well(here: World, owner: Owner) -> None:
    await here.control_plane(here.write("rules.yaml", rules(owner)))
    program, _ = await pair(here, owner, rules(owner))
    blob = await program.create()
    await program.exit()
    await gone(owner, blob)


async def test_a_resource_with_two_holders_survives_the_death_of_one(here: World, owner: Owner) -> None:
    await here.control_plane(here.write("rules.yaml", rules(owner)))
    maker, _ = await pair(here, owner, rules(owner), "a", service="maker")
    user, _ = await pair(here, owner, rules(owner), "b", service="user")
    shared, alone = await maker.create(), await maker.create()
    assert (await user.call("GET", f"/v1/blobs/{shared}"))["status"] == 200
    await maker.kill()
    await gone(owner, alone)
    await asyncio.sleep(2 * GRACE)  # time for a wrong sweep to happen
    assert shared in owner.blobs
    assert await here.resources() == {shared: "held"}
    await user.kill()
    await gone(owner, shared)


async def test_a_client_that_deletes_its_own_resource_leaves_no_record(here: World, owner: Owner) -> None:
    program, _ = await pair(here, owner, rules(owner))
    blob = await program.create()
    assert (await program.call("DELETE", f"/v1/blobs/{blob}"))["status"] == 204
    await settled(here)


async def test_orphans_that_existed_before_the_control_plane_started_are_collected(here: World, owner: Owner) -> None:
    program, sidecar = await pair(here, owner, rules(owner), ttl="2s")
    blob = await program.create()
    await asyncio.gather(sidecar.kill(), program.kill())
    await here.control_plane(here.write("rules.yaml", rules(owner)))
    await gone(owner, blob)


@pytest.mark.parametrize("after", [0.0, 0.7, 1.5, 2.2, 2.8, 3.4])
async def test_a_control_plane_killed_at_any_moment_changes_nothing_but_the_time(
    here: World, owner: Owner, after: float
) -> None:
    file = here.write("rules.yaml", rules(owner))
    first = await here.control_plane(file, "one")
    await here.control_plane(file, "two")
    maker, _ = await pair(here, owner, rules(owner), "a", service="maker")
    user, _ = await pair(here, owner, rules(owner), "b", service="user")
    blobs = [await maker.create() for _ in range(10)]
    kept = await maker.create()
    await user.call("GET", f"/v1/blobs/{kept}")
    await maker.kill()
    await asyncio.sleep(after)  # the fault falls at different steps of the sweep
    await first.kill()
    for blob in blobs:
        await gone(owner, blob, 45)
    assert kept in owner.blobs
    await eventually("only the kept one is recorded", lambda: _only(here, kept))


async def _only(here: World, blob: str) -> bool:
    return await here.resources() == {blob: "held"}


async def test_a_strict_ttl_is_one_more_holder_that_nobody_renews(here: World, owner: Owner) -> None:
    text = rules(owner, held_by="timer", extra_create="ttl: 4s")
    await here.control_plane(here.write("rules.yaml", text))
    program, _ = await pair(here, owner, text)
    made = time.monotonic()
    blob = await program.create()
    await gone(owner, blob)
    took = time.monotonic() - made
    print(f"gone {took:.2f} s after its creation (ttl 4 s, grace {GRACE} s), its maker alive")
    assert took >= 4 + GRACE
    assert program.process.returncode is None


async def test_a_rolling_restart_of_a_service_loses_nothing(here: World, owner: Owner) -> None:
    text = rules(owner, held_by="service")
    await here.control_plane(here.write("rules.yaml", text))
    first, first_sidecar = await pair(here, owner, text, "a", service="web")
    blob = await first.create()
    for name in ("b", "c", "d"):
        second, second_sidecar = await pair(here, owner, text, name, service="web")
        await first.kill()
        await first_sidecar.stop()
        first, first_sidecar = second, second_sidecar
        await asyncio.sleep(3)
    assert blob in owner.blobs, "every instance was replaced, longer than the ttl and the grace took"
    await asyncio.gather(first.kill(), first_sidecar.kill())
    await gone(owner, blob)


async def test_a_sidecar_that_restarts_keeps_what_its_process_holds(here: World, owner: Owner) -> None:
    text = rules(owner, grace="15s")  # long enough for any machine to start a sidecar in
    await here.control_plane(here.write("rules.yaml", text))
    port = free_port()
    program = await here.program(f"http://127.0.0.1:{port}")
    file = here.write("rules-a.yaml", text)
    sidecar = await here.sidecar(pid=program.pid, to=owner.address, rules=file, listen=port)
    blob = await program.create()

    async def held(yes: bool) -> bool:
        return ((await here.resources()).get(blob) == "held") is yes

    for orderly in (True, False):
        await (sidecar.stop() if orderly else sidecar.kill())
        await eventually("it was away for longer than its lease", partial(held, yes=False))
        sidecar = await here.sidecar(pid=program.pid, to=owner.address, rules=file, listen=port)
        await eventually("it speaks for its process again", partial(_is_ready, sidecar))
        await eventually("what condemned it is taken back", partial(held, yes=True))
    assert owner.deletes() == []
    await program.kill()
    await gone(owner, blob, within=60)


async def _is_ready(sidecar: Process) -> bool:
    return bool((await http_json(f"http://{sidecar.ready['admin']}/readyz"))["status"] == "ready")


async def test_a_process_that_died_while_its_sidecar_was_away_is_still_noticed(here: World, owner: Owner) -> None:
    await here.control_plane(here.write("rules.yaml", rules(owner)))
    program, sidecar = await pair(here, owner, rules(owner))
    blob = await program.create()
    await sidecar.kill()
    await program.kill()
    await gone(owner, blob)
