"""The asynchronous etcd client: grpclib for transport, C-backed protobuf for messages.

``channel`` (endpoints, failover, TLS, authentication, deadlines) carries ``key_value``, ``leases``, ``watches``
and ``cluster``; ``client`` puts them together behind the ports of ``leasehold.protocol.ports``.
"""
