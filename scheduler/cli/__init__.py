"""The command line: each command translates words into calls and answers into text."""
