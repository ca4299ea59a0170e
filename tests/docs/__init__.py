"""What the pages in docs/ show, made from the code itself."""
