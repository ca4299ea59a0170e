"""The published networks in plain torch: what a checkpoint is loaded into before it is exported.

The key names follow the widespread public layouts, so that a checkpoint trained with those loads
without renaming. Every forward is made of operations that export to ONNX.
"""
