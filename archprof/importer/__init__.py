"""From a torch module or an ONNX file to a Graph. `modules` and `layers` import torch, `onnx` imports onnx."""
