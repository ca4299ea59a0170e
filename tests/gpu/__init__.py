"""What only a GPU can show, as one command that needs nobody: ``python -m tests.gpu.check``."""
