"""Judge engines by what the FP32 networks say, and find the layers that make the difference."""
