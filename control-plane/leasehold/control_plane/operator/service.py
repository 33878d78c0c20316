"""``leasehold.v1.Operator``: each method hands its request to the part that knows. Who may call what: ``guard``."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from importlib.metadata import version

from leasehold import v1
from leasehold.control_plane.operator import views
from leasehold.control_plane.operator.access import caller
from leasehold.control_plane.operator.audit import Audit
from leasehold.control_plane.operator.bulk import Bulk
from leasehold.control_plane.operator.deeds import Deeds
from leasehold.control_plane.operator.detail import Detail
from leasehold.control_plane.operator.graph import Graph
from leasehold.control_plane.operator.lists import Lists
from leasehold.control_plane.operator.ports import PlanePort
from leasehold.control_plane.operator.problem import invalid
from leasehold.control_plane.operator.records import Records
from leasehold.control_plane.operator.rules import Rules
from leasehold.control_plane.operator.watching import Watching
from leasehold.control_plane.ticking import written_now
from leasehold.protocol.keyspace import Keyspace
from leasehold.protocol.names import MAX_ID_BYTES, Resource, is_name
from leasehold.protocol.records import ArmedRecord, Cause, TrippedRecord
from leasehold.protocol.transactions import arm, trip


@dataclass(frozen=True, slots=True)
class Parts:
    """Who does the work."""

    lists: Lists
    records: Records
    detail: Detail
    graph: Graph
    deeds: Deeds
    bulk: Bulk
    rules: Rules
    audit: Audit
    watching: Watching


class Service(v1.OperatorBase):
    """Of one tenant and replica."""

    def __init__(self, parts: Parts, plane: PlanePort, keys: Keyspace, replica: str) -> None:
        self._parts, self._plane, self._keys, self._replica = parts, plane, keys, replica

    # --- reading ------------------------------------------------------------------------------------------------

    async def who_am_i(self, message: v1.WhoAmIRequest) -> v1.WhoAmIResponse:
        del message
        known = caller.get()
        return v1.WhoAmIResponse(
            who=known.who, role=known.role.word, known_by=known.known_by, tenant=self._keys.tenant,
            replica=self._replica, version=version("leasehold"),
        )  # fmt: skip

    async def overview(self, message: v1.OverviewRequest) -> v1.OverviewResponse:
        return v1.OverviewResponse(overview=self._parts.lists.overview(history=message.history))

    async def list_resources(self, message: v1.ListResourcesRequest) -> v1.ListResourcesResponse:
        return await self._parts.lists.resources(message)

    async def get_resource(self, message: v1.GetResourceRequest) -> v1.GetResourceResponse:
        return await self._parts.detail.get(_named(message.name))

    async def why(self, message: v1.WhyRequest) -> v1.WhyResponse:
        return await self._parts.detail.why(_named(message.name))

    async def graph(self, message: v1.GraphRequest) -> v1.GraphResponse:
        return await self._parts.graph.draw(message, self._plane.revision)

    async def list_holders(self, message: v1.ListHoldersRequest) -> v1.ListHoldersResponse:
        return self._parts.lists.holders(message)

    async def list_owners(self, message: v1.ListOwnersRequest) -> v1.ListOwnersResponse:
        del message
        return self._parts.lists.owners()

    async def list_sweeps(self, message: v1.ListSweepsRequest) -> v1.ListSweepsResponse:
        return await self._parts.records.sweeps(message, self._plane.revision)

    async def list_tombstones(self, message: v1.ListTombstonesRequest) -> v1.ListTombstonesResponse:
        return await self._parts.records.tombstones(message, self._plane.revision)

    async def shadow_report(self, message: v1.ShadowReportRequest) -> v1.ShadowReportResponse:
        del message
        return await self._parts.records.shadows()

    async def list_audit(self, message: v1.ListAuditRequest) -> v1.ListAuditResponse:
        return await self._parts.audit.listing(message)

    async def brake_status(self, message: v1.BrakeStatusRequest) -> v1.BrakeStatusResponse:
        del message
        return self._plane.brake()

    async def get_rules(self, message: v1.GetRulesRequest) -> v1.GetRulesResponse:
        del message
        return await self._parts.rules.get()

    async def check_rules(self, message: v1.CheckRulesRequest) -> v1.CheckRulesResponse:
        return await self._parts.rules.check(message.document)

    async def watch(self, message: v1.WatchRequest) -> AsyncIterator[v1.WatchResponse]:
        async for one in self._parts.watching.watch(message):
            yield one

    # --- on single resources --------------------------------------------------------------------------------------

    async def pin(self, message: v1.PinRequest) -> v1.PinResponse:
        await self._parts.deeds.pin(_named(message.name), message.why)
        return v1.PinResponse()

    async def unpin(self, message: v1.UnpinRequest) -> v1.UnpinResponse:
        await self._parts.deeds.unpin(_named(message.name), message.why)
        return v1.UnpinResponse()

    async def restore(self, message: v1.RestoreRequest) -> v1.RestoreResponse:
        await self._parts.deeds.restore(_named(message.name), message.why)
        return v1.RestoreResponse()

    async def release(self, message: v1.ReleaseRequest) -> v1.ReleaseResponse:
        if not message.holder:
            raise invalid("holder: expected whose hold it is")
        await self._parts.deeds.release(_named(message.name), message.holder, message.why, force=message.force)
        return v1.ReleaseResponse()

    async def sweep_now(self, message: v1.SweepNowRequest) -> v1.SweepNowResponse:
        return v1.SweepNowResponse(grace_seconds=await self._parts.deeds.sweep_now(_named(message.name), message.why))

    # --- on many, and on the whole --------------------------------------------------------------------------------

    async def release_many(self, message: v1.ReleaseManyRequest) -> v1.BulkResponse:
        return await self._parts.bulk.release(message)

    async def sweep_now_many(self, message: v1.SweepNowManyRequest) -> v1.BulkResponse:
        return await self._parts.bulk.sweep_now(message)

    async def purge_quarantine(self, message: v1.PurgeQuarantineRequest) -> v1.BulkResponse:
        return await self._parts.bulk.purge(message)

    async def trip_brake(self, message: v1.TripBrakeRequest) -> v1.BrakeStatusResponse:
        tripped = TrippedRecord(caller.get().who, message.why.strip(), Cause.OPERATOR, written_now())
        await self._parts.audit.write(trip(self._keys, tripped), "TripBrake", message.why, ("brake",))
        told = self._plane.brake()
        told.armed, told.who, told.why, told.since = False, tripped.who, tripped.why, tripped.since
        told.cause, told.braked = tripped.cause.value, f"tripped by {tripped.who}: {tripped.why}"
        return told

    async def arm_brake(self, message: v1.ArmBrakeRequest) -> v1.BrakeStatusResponse:
        armed = ArmedRecord(caller.get().who, message.why.strip(), written_now())
        await self._parts.audit.write(arm(self._keys, armed), "ArmBrake", message.why, ("brake",))
        told = self._plane.brake()
        if not told.armed:
            # The index will hear of it; what else keeps it from collecting is then told.
            told.armed, told.braked, told.cause = True, "", ""
        told.who, told.why, told.since = armed.who, armed.why, armed.since
        return told

    async def apply_rules(self, message: v1.ApplyRulesRequest) -> v1.ApplyRulesResponse:
        return await self._parts.rules.apply(message.document, message.why)


def _named(name: v1.ResourceName | None) -> Resource:
    """Raises ``Problem``."""
    if name is None or not is_name(name.owner) or not is_name(name.type):
        raise invalid("name: expected owner, type and id, the first two as names")
    if not name.id or len(name.id.encode()) > MAX_ID_BYTES:
        raise invalid(f"name.id: expected 1 to {MAX_ID_BYTES} bytes")
    return views.named(name)
