"""Guards whose removal alone breaks no law in any world: belt and braces, each with the reason it is kept.

``backed_by``: in some world nothing breaks without these either, and something does without both, which the proof looks
for too. Without it, the reason has to stand for itself: what the guard refuses would do no harm, and is refused because
nobody should have to know that.
"""

from __future__ import annotations

from typing import NamedTuple


class Spare(NamedTuple):
    why: str
    backed_by: tuple[str, ...] = ()


SPARE: dict[str, Spare] = {
    # --- the destructive path ---------------------------------------------------------------------------------------
    "prepare: beacon absent": Spare(
        "whoever attaches renews its roster entry, which is compared too", ("prepare: roster not newer",)
    ),
    "prepare: its holds not newer": Spare(
        "whoever is granted a hold takes the tombstone away", ("prepare: its tombstone unchanged",)
    ),
    "prepare: its refs not newer": Spare(
        "whoever refers to something takes its tombstone away", ("prepare: its tombstone unchanged",)
    ),
    "prepare: everything's refs not newer": Spare(
        "whoever refers to everything of a type takes all its tombstones away", ("prepare: its tombstone unchanged",)
    ),
    "prepare: epoch 1 unchanged": Spare(
        "it was decided by a whole grace that began after the tombstone; with that unchanged it is over, whatever "
        "became of the epoch's key"
    ),
    "prepare: its sweep absent": Spare("only a second copy of one decision meets it, which no leader sends"),
    "prepare and send: beacon absent": Spare(
        "whoever attaches renews its roster entry, which is compared too", ("prepare and send: roster not newer",)
    ),
    "prepare and send: its holds not newer": Spare(
        "whoever is granted a hold takes the tombstone away", ("prepare and send: its tombstone unchanged",)
    ),
    "prepare and send: its refs not newer": Spare(
        "whoever refers to something takes its tombstone away", ("prepare and send: its tombstone unchanged",)
    ),
    "prepare and send: everything's refs not newer": Spare(
        "whoever refers to everything of a type takes all its tombstones away",
        ("prepare and send: its tombstone unchanged",),
    ),
    "prepare and send: epoch 1 unchanged": Spare("as with prepare"),
    "condemn: its sweep absent": Spare("what is swept has its tombstone, which is compared too"),
    "condemn: its tombstone absent": Spare("a tombstone put anew only makes the grace begin anew"),
    "send: beacon absent": Spare(
        "whoever attaches renews its roster entry, which is compared too", ("send: roster not newer",)
    ),
    "abort: another's sweep unchanged": Spare(
        "a member is sent only after those before it are gone, and then it is no more among the unsent"
    ),
    "revive: its tombstone unchanged": Spare("a newer tombstone taken away only makes the grace begin anew"),
    "revive: takes away its tombstone": Spare(
        "it is what a revival does; without it the tombstone is only tried again"
    ),
    "unpin: its sweep absent": Spare("what is pinned is not prepared, and what is swept is not pinned"),
    "rearm: armed absent": Spare("whoever arms takes the trip away that this answers to"),
    # --- what owners are told ---------------------------------------------------------------------------------------
    "forget: takes away its notice": Spare("an owner that has it no more is owed nothing, and what is left goes later"),
    "notify: its notice unchanged": Spare("whichever notice stands says that a restore is owed"),
    "withdraw: its record unchanged": Spare("an owner that restored it is owed nothing, whatever is recorded now"),
    "withdraw: takes away its notice": Spare("it is what a withdrawal does; without it the owner is told once more"),
    # --- attaching --------------------------------------------------------------------------------------------------
    "attach otherwise: renews roster": Spare("who is attached already was put on the roster when it attached"),
    # --- intents and orphans ----------------------------------------------------------------------------------------
    "adopt: its record absent": Spare("who registers has a hold", ("adopt: its holds absent",)),
    "adopt: its holds absent": Spare(
        "an early hold protects with a record as without; who registers puts a record too",
        ("adopt: its record absent",),
    ),
    "adopt: its sweep absent": Spare("what is swept has its record, which is compared too"),
    "dismiss: beacon absent": Spare(
        "whoever attaches renews its roster entry, which is compared too", ("dismiss: roster unchanged",)
    ),
    "dismiss: intent unchanged": Spare("who intends anew has attached anew, or has had no answer yet"),
    "dismiss: its hold unchanged": Spare("an early hold of a later call is put again when that call is registered"),
    "recorded: beacon absent": Spare("the record is there: nothing is left to be told by the intent"),
    "recorded: intent unchanged": Spare("the record is there: nothing is left to be told by the intent"),
    "recorded: its record unchanged": Spare(
        "only what came later has taken its place since, and then what the call created is gone"
    ),
    "suspect: beacon absent": Spare("the intent stays, and its holder's own registration takes it away all the same"),
    "resolve: beacon absent": Spare("a holder that is back is only spared a registration"),
    "resolve: intent unchanged": Spare("who concludes the intent puts the record, which is compared too"),
    "resolve: roster unchanged": Spare("the hold it records counts only while the holder is away"),
    "resolve: its hold unchanged": Spare("a hold is put in the place of a hold of the same holder"),
    "resolve: its sweep absent": Spare("what is swept has its record, which is compared too"),
    "resolve: renews roster": Spare("a strike is decided only without intents, and who intends has attached since"),
    "retract: its hold as written": Spare("nothing is recorded, so the hold holds nothing"),
    "strike: beacon absent": Spare("whoever attaches renews its roster entry", ("strike: roster unchanged",)),
    "strike: intents absent": Spare("who intends has attached since", ("strike: roster unchanged",)),
}
