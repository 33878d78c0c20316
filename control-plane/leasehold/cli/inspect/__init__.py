"""Reading etcd directly, joined at one revision, and telling what it means."""
