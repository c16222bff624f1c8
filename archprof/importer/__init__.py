"""From a torch module or an ONNX file to a Graph, and to what runs.

Importing it imports no torch: `modules`, `layers` and `execution` do, and `onnx` imports onnx.
"""

from archprof.importer.running import Runnable, runnable

__all__ = ["Runnable", "runnable"]
