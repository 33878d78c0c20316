"""The asynchronous etcd client: unary calls over connections of our own, streams over grpclib, protobuf in C.

The map, from the outside in:

- ``client``        all of it behind ``ports.Store``, ``ports.Leases``, ``ports.Watches``; ``config`` how to reach etcd
- ``key_value``     reads and transactions      ``leases``   grants and renewals, over one shared stream
- ``watches``       changes, for ever; ``assembly`` decides, sans I/O, what is handed out and where to resume
- ``cluster``       members, versions, alarms; ``known_bad`` which versions have defects that matter to us
- ``channel``       endpoints, failover, authentication (``credentials``), deadlines; ``methods`` what can be called,
                    ``translation`` what each error means
- ``unary_connection``  unary calls to one endpoint, the asyncio shell around, sans I/O, ``unary`` (one connection),
                    ``unary_sending`` (what may leave), ``unary_call`` (one call), ``frames`` (HTTP/2 on the wire)
- ``connection``    a connection for streams, over grpclib; ``isolation`` tasks of their own for what runs over grpclib
- ``binary``, ``process``  an etcd of our own, for the demo and the tests
- ``rpc.proto``     etcd's API, trimmed; ``rpc_pb2`` and ``rpc_grpc`` are generated from it (``make proto``)
"""
