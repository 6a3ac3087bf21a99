"""The small Llama of the embedded stack: its data, its tokenizer, its training, and its measurement."""
