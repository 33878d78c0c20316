"""Writing, by the protocol's own transactions and never around them."""
