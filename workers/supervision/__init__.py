"""One detached process per attempt that starts the command, watches it to its end and writes down what it saw."""
