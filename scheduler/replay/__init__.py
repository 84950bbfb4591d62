"""A trace of submitted jobs run again in simulated time, under several ways of choosing where they go."""
