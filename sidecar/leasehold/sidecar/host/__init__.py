"""Is the process we speak for alive? ``process`` asks the kernel, ``probes`` ask the service; both are a ``Host``."""
