"""The webhook's certificates: read from files (cert-manager, or provided), or made by ourselves.

``material`` says what is due (pure), ``authority`` makes certificates, ``store`` is where they are kept and whom they
are published to (a port; ``kubernetes`` is its adapter), ``keeper`` goes on doing what is due, ``files`` reads.
"""
