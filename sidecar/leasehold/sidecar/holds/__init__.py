"""What this sidecar holds, and how it becomes durable.

The map, in the order an observation travels:

- ``registrar``   the port the relay talks to: whose hold is it, journal it, hand it on
- ``cache``       what is held and what is pending: decides what an observation asks for. Pure
- ``entries``     the entries of the journal and the state they add up to, live and after a restart. Pure
- ``journal``     the file that survives the sidecar's own restart
- ``lanes``       what may go next: order per resource, distinct keys per batch. Pure
- ``work``        one operation: its member of a batch, and what the answer to it means. Pure
- ``committer``   group commit: many members, one transaction
- ``keeper``      one lease and one beacon: drives ``protocol.session``, watches the beacon
- ``timers``      beacons that nobody renews, shared by what is created in the same short window
- ``holders``     which holders there are now, and who keeps them
- ``rounds``      whether the holds we believe in are still there
- ``losses``      what was swept while a holder was away
- ``etcd``        the store, its leases and its keys in one value
- ``tenure``      from the host's first call to its retirement
"""
