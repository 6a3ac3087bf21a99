"""The GPU house: NVIDIA Triton with TensorRT-LLM, which serves Llama-3.1-8B-Instruct (docs/gpu.md)."""
