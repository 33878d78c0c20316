"""The collector: finds what nobody holds any more and deletes it through its owner, safely.

The map, in reading order:

- ``core/lifecycle``   the life cycle of a resource, as a table
- ``core/index``       everything etcd holds about a tenant, folded into facts; nominations come out
- ``core/verdict``     what one read at one revision proves about a resource
- ``core/policy``      how far the rules in force permit to go
- ``core/epochs``      when a grace period begins and when it may end
- ``core/warmup``      how long nothing is prepared after a gap in what we know
- ``core/backlog``     who is served next, and when again
- ``observe``          list and watch etcd into the index
- ``core/placement``   which replica should act for which shard
- ``membership``       this replica's lease, and the key by which others count it in
- ``leadership``       which shards it acts for, each under a fence
- ``witness``          read all evidence of a resource at one revision
- ``reaper``           condemn, revive, prepare: judge, then the guarded transaction
- ``graces``           open, close and drop epochs
- ``roster``           long-gone holders are struck off
- ``sweeper``          the irreversible part, one state machine per resource
- ``owners/``          the adapters that call owner endpoints, and what their answers mean
- ``app``              builds everything; the only place that names adapters

Caches nominate, transactions decide: no module but ``reaper``, ``graces`` and ``sweeper`` writes on the destructive
path, and each of their writes compares the facts it rests on.
"""
