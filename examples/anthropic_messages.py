"""The unmodified Anthropic SDK through Homeward: `make run` first, then run this from the repository."""

import json
from pathlib import Path

from anthropic import Anthropic

here = json.loads(Path(".homeward/endpoints.json").read_text())
client = Anthropic(base_url=here["openai_base_url"].removesuffix("/v1"), api_key=here["api_key"])

with client.messages.stream(
    model="gpt-4o-mini",
    max_tokens=200,
    messages=[{"role": "user", "content": "What is a ledger?"}],
) as stream:
    for text in stream.text_stream:
        print(text, end="", flush=True)
print(f"\n{stream.get_final_message().usage}")
