#!/bin/sh
# Generates the Python stubs of the contract into the folder $1 (default: protos/gen).
set -eu
out=${1:-protos/gen}
find "$out/homeward" -name '*_pb2*' -delete 2>/dev/null || true
mkdir -p "$out"
bin=$(dirname "$0")/../.venv/bin
PATH="$bin:$PATH" "$bin/python" -m grpc_tools.protoc -I protos \
  --python_out="$out" --mypy_out=quiet:"$out" --grpc_python_out="$out" --mypy_grpc_out=quiet:"$out" \
  $(find protos/homeward -name '*.proto' | sort)
find "$out/homeward" -type d -exec touch {}/__init__.py \;
