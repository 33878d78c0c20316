"""The Grafana dashboards, written in Python: ``python -m helm.dashboards helm/leasehold/files/dashboards``.

``grafana`` knows what a dashboard looks like as JSON, ``collector`` and ``sidecars`` what is to be seen.
"""
