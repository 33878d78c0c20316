"""Answers one trial: rules, descriptor sets and a captured call in, an explanation out."""

from __future__ import annotations

from leasehold.protocol.protobuf import Schema
from leasehold.protocol.rules import Owner, rules_from_documents
from leasehold.protocol.trials import CapturedGrpc, CapturedHttp, Explanation, Trial
from leasehold.sidecar.explain.captured import captured_request, captured_response
from leasehold.sidecar.explain.grpc_wire import wire
from leasehold.sidecar.explain.verdicts import explanation
from leasehold.sidecar.explain.witness import Seen, Witness, see_grpc, see_http
from leasehold.sidecar.observe.matching import normal_authority
from leasehold.sidecar.schemas import read_schemas


def explain(trial: Trial) -> Explanation:
    """Raises ``BadConfiguration`` for the rules, ``ValueError`` for the call."""
    rules = rules_from_documents(trial.owners, trial.rules, "rules")
    troubles: list[str] = []

    def trouble(owner: Owner, error: Exception) -> None:
        troubles.append(f"the descriptor set of owner {owner.name} cannot be used: {error}")

    schemas = read_schemas(rules, trouble)
    witness = Witness.compile(rules, schemas)
    troubles += witness.troubles
    destination = normal_authority(trial.destination) if trial.destination else ""
    if isinstance(trial.call, CapturedHttp):
        seen, remarks = _http(witness, trial.call, destination)
    else:
        seen, remarks = _grpc(witness, trial.call, destination, schemas), []
    return explanation(rules, seen, trial.destination, [*troubles, *remarks])


def _http(witness: Witness, call: CapturedHttp, destination: str) -> tuple[Seen, list[str]]:
    request = captured_request(call.request)
    response = captured_response(call.response, to_head=request.data.startswith(b"HEAD "))
    return see_http(witness, request.data, response.data, destination), [*request.remarks, *response.remarks]


def _grpc(witness: Witness, call: CapturedGrpc, destination: str, schemas: dict[str, Schema]) -> Seen:
    called = witness.owner_rules(destination, "")
    witness.asked.clear()
    request, response = wire(call, destination, None if called is None else schemas.get(called.owner))
    return see_grpc(witness, call.path, call.status, request, response, destination)
