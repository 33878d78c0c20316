"""Is this installation fit to delete things? Findings with a code, a level and a hint; no fail, no exit 1.

``known_bad`` (etcd versions) and ``findings`` (what to make of the facts) are pure; ``command`` asks and prints.
"""
