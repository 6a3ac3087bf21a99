"""The unmodified OpenAI SDK through Homeward: `make run` first, then run this from the repository."""

import json
from pathlib import Path

from openai import OpenAI

here = json.loads(Path(".homeward/endpoints.json").read_text())
client = OpenAI(base_url=here["openai_base_url"], api_key=here["api_key"])

answer = client.chat.completions.with_raw_response.create(
    model="gpt-4o-mini",
    messages=[
        {"role": "system", "content": "You route messages of a bank's customers."},
        {"role": "user", "content": "I still have not received my new card. When will it come?"},
    ],
)
print(answer.parse().choices[0].message.content)
print(f"ran on {answer.headers['x-homeward-target']}: {answer.headers['x-homeward-model']}")
print(f"trace: {here['traces_url']}#{answer.headers['x-homeward-trace-id']}")

stream = client.chat.completions.create(
    model="gpt-4o-mini", messages=[{"role": "user", "content": "What is a ledger?"}], stream=True
)
print("".join(chunk.choices[0].delta.content or "" for chunk in stream))
