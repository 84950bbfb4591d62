"""The bodies that travel over HTTP. Money is decimal text in dollars, times are ISO 8601, sizes carry their unit."""
