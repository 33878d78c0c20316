"""``leasehold bug-report``: what a maintainer needs to see, in one archive, without the secrets.

``redaction`` (pure) takes out what may be secret; ``gathering`` asks everybody, each for itself, so that what is down
is missing and the rest is there; ``command`` tells what is inside and writes it.
"""
