"""The webhook that injects sidecars into pods.

``review`` is the protocol with the API server (pure), ``webhook`` answers it, ``server`` serves it over TLS and takes
new certificates without a restart, ``certificates`` has them made or read, ``namespaces`` knows labels. The
API server's client is the one of ``kubernetes``; what is injected is decided and built in ``leasehold.injection``.
"""
