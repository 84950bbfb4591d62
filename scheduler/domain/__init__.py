"""Pure rules: states, offers, candidates, placement, expected cost. No SQL, HTTP, clock or environment."""
