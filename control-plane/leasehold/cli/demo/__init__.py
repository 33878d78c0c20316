"""``leasehold demo``: the main job with real processes on loopback, checked against the owners' own contents.

The map:

- ``command``   the command and its options; ``evening`` is one performance: what is printed, the exit code
- ``script``    the story, act by act
- ``stage``     everything that runs: etcd, two control planes, clients each under a sidecar; ends all of it
- ``owners``    the two owners and what they really hold: S3 (moto's server) and ``depot``
- ``depot``     our playground owner: soft delete, ETags, a ledger, faults to switch on
- ``clients/``  the programs: they know S3 or HTTP, and nothing of Leasehold
- ``audience``  follows every resource through its states, from etcd, as an onlooker
- ``show``      how it is told: a live table on a terminal, plain lines elsewhere
- ``verdict``   what should be left against what is left. Pure.
- ``rules.yaml``  the owners and rules of the story, as `leasehold apply` takes them
"""
