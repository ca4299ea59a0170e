"""TensorRT 10.x and 11.x and TensorRT-RTX, from one set of modules; memory through pycuda."""
