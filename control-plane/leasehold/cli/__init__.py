"""The operator's hand: ``leasehold ...``.

The map:

- ``__main__``    the command group, its global options, the exit codes
- ``target``      which etcd and which tenant; every error on the way there as one clear line
- ``inspect``     reading: one consistent picture of a tenant (``survey``), what state a resource is in (``states``),
                  what happens to it next (``explain``); the commands ``get`` and ``why``
- ``operate``     writing, always by the protocol's own transactions: ``apply``, ``pin``, ``release``, ``brake`` ...
- ``doctor``      is this installation fit to delete things?
- ``run``         any program under a sidecar
- ``demo``        the main job with real processes, in half a minute

The CLI imports the protocol and nothing of the other parts: those it starts as processes.
"""
