#!/usr/bin/env bash
# Fetches the FP8 weights of Llama-3.1-8B-Instruct (9.1 GB) into a folder. After build.sh; needs no GPU.
#
#   deploy/triton/gpu/fetch_model.sh /srv/models/llama-3.1-8b-fp8 [REVISION]
#
# HF_TOKEN, if set, is handed on; never write it on the command line. The licence is Meta's Llama 3.1
# Community License: read it before you serve anyone.
set -euo pipefail

folder="${1:?usage: fetch_model.sh FOLDER [REVISION]}"
revision="${2:-main}"
model="${HOUSE_MODEL:-nvidia/Llama-3.1-8B-Instruct-FP8}"
image="${HOUSE_IMAGE:-homeward-triton-gpu:${TRITON_RELEASE:-26.07}}"

mkdir -p "$folder"
folder="$(cd "$folder" && pwd)"
docker run --rm -i --env HF_TOKEN --env HTTPS_PROXY --env HF_HUB_OFFLINE=0 --env TRANSFORMERS_OFFLINE=0 \
    --volume "$folder:/weights" --entrypoint python3 "$image" - "$model" "$revision" <<'PYTHON'
import sys
from pathlib import Path

from huggingface_hub import HfApi, snapshot_download

model, revision = sys.argv[1:]
commit = HfApi().model_info(model, revision=revision).sha
snapshot_download(model, revision=commit, local_dir="/weights")
Path("/weights/REVISION").write_text(f"{model} {commit}\n", encoding="utf-8")
PYTHON

for file in config.json generation_config.json hf_quant_config.json tokenizer.json tokenizer_config.json; do
    [ -s "$folder/$file" ] || { echo "fetch_model.sh: $folder/$file is missing" >&2; exit 1; }
done
grep -q '"quant_algo": *"FP8"' "$folder/hf_quant_config.json" \
    || { echo "fetch_model.sh: $folder/hf_quant_config.json does not say FP8" >&2; exit 1; }
echo "fetched $(cat "$folder/REVISION"): pin this revision in your notes and on the other machines"
