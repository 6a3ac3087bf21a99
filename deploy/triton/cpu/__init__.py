"""The embedded sovereign server: NVIDIA's tritonserver from a wheel, with a small Llama on the CPU."""
