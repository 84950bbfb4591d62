"""Where, and at what price: inventory, placement, decisions, and the doors people come in by."""
