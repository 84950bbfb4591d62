"""How the schema came to be: dated migrations, one subject each."""
