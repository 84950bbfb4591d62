"""`pythia demo`: eleven jobs and a learner, from prediction to outcome, on a system of their own."""
