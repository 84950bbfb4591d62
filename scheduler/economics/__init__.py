"""What tokens and GPUs cost, and when to own, rent by the second or call an API: pure functions."""
