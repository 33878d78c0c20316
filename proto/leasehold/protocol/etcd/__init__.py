"""The asynchronous etcd client: grpclib for transport, C-backed protobuf for messages.

The map, from the outside in:

- ``client``        all of it behind ``ports.Store``, ``ports.Leases``, ``ports.Watches``; ``config`` how to reach etcd
- ``key_value``     reads and transactions      ``leases``   grants and renewals, over one shared stream
- ``watches``       changes, for ever; ``assembly`` decides, sans I/O, what is handed out and where to resume
- ``cluster``       members, versions, alarms
- ``channel``       endpoints, failover, authentication (``credentials``), deadlines; ``methods`` what can be called,
                    ``translation`` what each error means, ``connection`` one connection, ``isolation`` its tasks
- ``binary``, ``process``  an etcd of our own, for the demo and the tests
- ``rpc.proto``     etcd's API, trimmed; ``rpc_pb2`` and ``rpc_grpc`` are generated from it (``make proto``)
"""
