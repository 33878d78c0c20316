"""Life-cycle events, told to others: what etcd's history says happened to resources, as CloudEvents, at least once.

    etcd's watch -> transitions (pure) -> histories (what is known of each) -> cloudevents (pure) -> a sink
                      ^                                                                             |
                      +--- cursor, in etcd: how far everything was delivered <----------------------+

There is no outbox to write: etcd's history is one. ``docs/decisions/0022-events-from-the-history.md`` tells why.
"""
