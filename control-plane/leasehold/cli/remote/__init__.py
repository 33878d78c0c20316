"""The same commands, asked of the operator API instead of etcd (``--server``). What is printed is the same."""
