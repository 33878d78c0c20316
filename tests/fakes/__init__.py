"""Stand-ins for what is outside. Each passes the same contract tests as the real thing."""
