"""Any program under a sidecar: ``sidecar`` (the process beside it), ``program`` and ``gate`` (the program itself).

Used by ``leasehold run`` and by the demo.
"""
