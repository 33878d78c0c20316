"""The owners and rules that are in etcd, as one set."""

from __future__ import annotations

from leasehold.cli.operate.rules import refuse
from leasehold.cli.target import Target
from leasehold.operating.survey import take
from leasehold.protocol.configuration import BadConfiguration
from leasehold.protocol.etcd.client import EtcdClient
from leasehold.protocol.keyspace import Family
from leasehold.protocol.rules import RuleSet, rules_from_documents


def rules_in_etcd(target: Target) -> RuleSet:
    """Read now. Raises ``Failure``; exits 78 when what is there makes no sense."""

    async def read(client: EtcdClient) -> RuleSet:
        stored = await take(client, target.keys, (Family.OWNERS, Family.RULES), deadline=target.deadline)
        owners = [found.record for found in stored.owner_documents.values()]
        return rules_from_documents(owners, [found.record for found in stored.rule_documents.values()], "etcd")

    try:
        return target.run(read)
    except BadConfiguration as error:
        refuse(error)
