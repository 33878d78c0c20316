"""Injection without a cluster: ``inject`` does to manifests what the webhook does to pods, ``analyze`` finds mistakes.

What is decided and built is in ``leasehold.injection``; here files are read, and results printed.
"""
