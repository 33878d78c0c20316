"""What both sides say to each other, by way of etcd.

The map, in reading order:

- ``names``          identifiers: tenant, owner, resource, holder
- ``keyspace``       every key and prefix, built and parsed here and nowhere else
- ``records``        what is stored under them
- ``store``          etcd's vocabulary as plain values: compare, put, delete, transaction
- ``transactions``   every transaction of the protocol, as pure functions: facts in, ``Txn`` out
- ``session``        sans-I/O lease session: what we may believe about our lease, and until when
- ``rules``          owners and interception rules; ``templates`` for their path templates
- ``configuration``  documents into typed models, with every mistake listed
- ``ports``          what the two sides need from a store; ``errors`` what can go wrong
- ``etcd``           the asynchronous etcd client behind the ports
"""
