"""The operators' console: a page for people, beside the operator API and by nothing but it."""
