"""Write a network anew in eight or sixteen bits."""
