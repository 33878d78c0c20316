"""Is this installation fit to delete things? Findings with a code, a level and a hint; no fail, no exit 1.

``findings`` (what to make of the facts) is pure; ``command`` asks and prints.
"""
