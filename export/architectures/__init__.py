"""The published networks in plain torch: what a checkpoint is loaded into before it is exported.

The key names follow the common public layouts, so that a checkpoint trained with those loads
without renaming. Every forward consists of operations that export to ONNX.
"""
