"""What nobody recorded: intents without an outcome, and what the owners' inventories show."""

from __future__ import annotations

from leasehold.shell.declaring import counter, gauge

INTENTS = gauge(
    "leasehold_intents",
    about="Calls whose outcome is not recorded",
    meaning="Under way, or their caller ended in the middle.",
    normal="as many as creating calls with `commit: before-request` are under way",
    act="staying: `leasehold get suspects`",
)  # fmt: skip
SUSPECTS = gauge(
    "leasehold_suspects", "reason",
    about="Calls of ended holders that nobody can tell the outcome of",
    meaning="They may have created something that nobody knows of. Nothing is deleted on the strength of it.",
    normal="0 but for `not-asked-yet`",
    act="docs/operations.md, suspects: what helps, by reason",
)  # fmt: skip
INTENTS_RESOLVED = counter(
    "leasehold_intents_resolved", "owner", "outcome",
    about="Intents of ended holders, by what became of them",
    meaning="`found` and recorded, `not-there`, or `recorded-already`.",
    normal="follows crashes",
    act="nothing",
)  # fmt: skip
INVENTORY_SCANS = counter(
    "leasehold_inventory_scans", "owner", "type", "result",
    about="Listings of owners, by how they ended",
    meaning="`compared`; `braked`: too much differed; `failed`: the listing could not be read.",
    normal="`compared`",
    act="`failed`: log `inventory_failed`",
)  # fmt: skip
UNMANAGED = gauge(
    "leasehold_unmanaged_resources", "owner", "type",
    about="Listed by an owner, and none of ours",
    meaning="Made by somebody without a sidecar, or before there was one. Never touched.",
    normal="constant",
    act="growing: who creates there unseen?",
)  # fmt: skip
INVENTORY_CANDIDATES = gauge(
    "leasehold_inventory_candidates", "owner", "type",
    about="Listed as ours, unknown to us",
    meaning="Orphans if they are still unknown in the next listing.",
    normal="a few, each for one listing",
    act="`leasehold get orphans`",
)  # fmt: skip
INVENTORY_MISSING = gauge(
    "leasehold_inventory_missing", "owner", "type",
    about="Recorded, and not listed",
    meaning="Deleted behind our back, if the owner says so again.",
    normal="a few, each for one listing",
    act="many: does the listing show everything? See `leasehold_inventory_braked`",
)  # fmt: skip
INVENTORY_BRAKED = gauge(
    "leasehold_inventory_braked", "owner", "type",
    about="1 while too much differs to conclude anything",
    meaning="The list shows less than there is, etcd knows less than it did, or there really are so many leftovers.",
    normal="0",
    act="look at a few of them, then raise the inventory's `brake` for a while",
)  # fmt: skip
INVENTORY_ORPHANS = counter(
    "leasehold_inventory_orphans", "owner", "type",
    about="What an owner lists as ours and nobody had recorded, recorded",
    meaning="Leaks found after the fact.",
    normal="0",
    act="how did it come to be unrecorded? `leasehold_sidecar_unprotected_creations_total`",
)  # fmt: skip
INVENTORY_CLOSED = counter(
    "leasehold_inventory_closed", "owner", "type",
    about="Records of what the owner did not have any more, ended",
    meaning="Somebody deletes there without a sidecar that sees it.",
    normal="rare",
    act="a rule for the deleting call, or a sidecar for who makes it",
)  # fmt: skip
