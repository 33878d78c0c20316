"""The operator API: what ``leasehold.v1.Operator`` promises, served over gRPC and, by one bridge, as JSON over HTTP.

``service`` has the methods, over ports; ``guard`` stands before each of them and says who asks and whether they may;
``bridge`` and ``server`` carry the calls. Lists are answered from the collector's index, single resources from etcd.
"""
