"""What a service takes and costs, what fits, how fast it would be, and what a deploy changes: scripts/plan."""
