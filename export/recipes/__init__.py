"""How each system is wired: its networks, and the bundle that holds them."""
