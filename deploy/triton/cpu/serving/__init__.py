"""What runs inside Triton's Python process: prompt in, cumulative text out.

Everything here is imported by the Python of `.triton`, which has numpy 1, onnxruntime-genai and tokenizers,
and nothing else that Homeward needs. Only `reply.py` and `metrics.py` know Triton, only `engine.py` knows
the model.
"""
