"""Owners and interception rules: the model both sides read, from a file or from etcd.

A rule says which call creates, uses or deletes which resource; an owner says how it is reached and how a resource is
deleted there. Nothing that decides over deletion has a default that deletes: ``mode`` starts as ``observe`` and
``held_by`` must be said, because a wrong one deletes customers' data.

``owners``, ``proving``, ``interception`` and ``sources`` are the models; ``owner_nonsense``, ``rule_nonsense``,
``source_nonsense`` and ``reference_nonsense`` find what is wrong with them; ``rule_set`` puts both together.
"""

from leasehold.protocol.records import HolderKind
from leasehold.protocol.rules.interception import Commit, GrpcMatch, Match, Mode, On, OnUnavailable, Reference, Rule
from leasehold.protocol.rules.owners import (
    Calls,
    DeleteCall,
    Limits,
    NoticeCall,
    Owner,
    Precondition,
    ReadCall,
    Retries,
    Tls,
    VerifyCall,
)
from leasehold.protocol.rules.proving import Auth, Aws, Basic, OAuth2
from leasehold.protocol.rules.rule_set import (
    RuleSet,
    checked,
    load_rules,
    permitted_mode,
    rules_from_documents,
    warnings,
)
from leasehold.protocol.rules.sources import Message, Side, Source

__all__ = [
    "Auth",
    "Aws",
    "Basic",
    "Calls",
    "Commit",
    "DeleteCall",
    "GrpcMatch",
    "HolderKind",
    "Limits",
    "Match",
    "Message",
    "Mode",
    "NoticeCall",
    "OAuth2",
    "On",
    "OnUnavailable",
    "Owner",
    "Precondition",
    "ReadCall",
    "Reference",
    "Retries",
    "Rule",
    "RuleSet",
    "Side",
    "Source",
    "Tls",
    "VerifyCall",
    "checked",
    "load_rules",
    "permitted_mode",
    "rules_from_documents",
    "warnings",
]
