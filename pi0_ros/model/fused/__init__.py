"""The network as few kernels on an NVIDIA GPU: `Fused` runs the packed weights of `model.packed` by the operations of
`plain` (PyTorch, the meaning) or `launch` (Triton, the speed)."""
