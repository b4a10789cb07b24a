"""Ways to run the network: in this process with torch, with onnxruntime, or on an openpi server."""
