"""A gRPC call through Homeward: `make run` first, then run this from the repository."""

import json
from pathlib import Path

import grpc
from homeward.common.v1 import chat_pb2
from homeward.router.v1 import router_pb2, router_pb2_grpc

here = json.loads(Path(".homeward/endpoints.json").read_text())
key = (("authorization", f"Bearer {here['api_key']}"),)
question = chat_pb2.Message(role=chat_pb2.ROLE_USER, content=[chat_pb2.ContentPart(text="What is a ledger?")])
chat = chat_pb2.Chat(model="gpt-4o-mini", messages=[question])
with grpc.insecure_channel(here["grpc"]) as channel:
    router = router_pb2_grpc.RouterServiceStub(channel)
    answer = router.Complete(router_pb2.CompleteRequest(chat=chat), metadata=key)
    print(answer.choices[0].message.content[0].text, answer.usage, answer.route.trace_id)
    for event in router.CompleteStream(router_pb2.CompleteStreamRequest(chat=chat), metadata=key):
        print(event.delta.text, end="", flush=True)
