"""What is put into a pod so that it is protected, decided and built as values. Pure.

The webhook and ``leasehold inject`` are two callers of the same thing: a pod, where it stands, and settings go in; a
patch or the reason for leaving it alone comes out. Reading path: ``decision`` (whether), ``wishes`` (what the pod's
annotations ask for), ``workload`` (what it is called), ``containers`` (the two of them), ``configuration`` (what the
sidecar is told), ``patch`` (how all of it gets into the pod), ``injecting`` (the whole).

Laws: a garbage collector is never the reason why an app is down, so a pod that cannot be injected is left as it was,
and that is said; injecting what is injected changes nothing; the app's own containers are never touched.
"""
