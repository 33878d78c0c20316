"""Owners and rules as Kubernetes objects.

Pure: ``kinds`` (what an object says), ``schema`` and ``crds`` (the definitions, generated from the model), ``review``
(admission) and ``reconcile`` (what has to be written). With I/O: ``api_server`` (the client, which ``inject`` uses,
too), ``mirror`` (list and watch of one kind), ``documents`` (etcd's side) and ``controller`` (into etcd, and the
verdict back).
"""
