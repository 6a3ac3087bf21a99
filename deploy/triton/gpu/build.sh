#!/usr/bin/env bash
# Builds the GPU house's image. On a machine with Docker; needs no GPU.
#
#   TRITON_RELEASE=26.07 TENSORRT_LLM_VERSION=1.2.1 deploy/triton/gpu/build.sh [ARGUMENTS OF docker build]
set -euo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
release="${TRITON_RELEASE:-26.07}"
version="${TENSORRT_LLM_VERSION:-1.2.1}"
image="${HOUSE_IMAGE:-homeward-triton-gpu:$release}"

docker build \
    --build-arg "TRITON_RELEASE=$release" \
    --build-arg "TENSORRT_LLM_VERSION=$version" \
    --tag "$image" "$@" "$here"
echo "built $image; NVIDIA's files in it:"
docker run --rm --entrypoint cat "$image" /repository/nvidia-files.sha256
