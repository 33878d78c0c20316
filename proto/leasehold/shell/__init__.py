"""What every Leasehold process does at its edges: arguments, configuration, logs, health, signals, exit codes."""
