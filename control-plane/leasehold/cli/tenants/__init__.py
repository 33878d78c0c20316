"""``leasehold etcd-roles``: tenants kept apart by etcd itself."""
