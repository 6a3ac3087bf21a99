#!/usr/bin/env bash
# A real inference of one token; exit code 0 if it was answered. On the machine, and as the image's health check.
#
# Triton's own readiness is no proof: when the model's process has died, ModelReady stays true, and every
# request fails until the container is started anew.
set -uo pipefail

url="http://127.0.0.1:${HOUSE_HTTP_PORT:-8000}/v2/models/tensorrt_llm/generate"
if ! answer="$(
    curl --silent --show-error --fail-with-body --max-time "${HOUSE_PROBE_S:-20}" "$url" --data '{
        "text_input": "One, two,",
        "sampling_param_max_tokens": 1,
        "sampling_param_top_k": 1,
        "sampling_param_exclude_input_from_output": true
    }' 2>&1
)"; then
    echo "probe.sh: $answer" >&2
    exit 1
fi
case "$answer" in
    *'"error"'*) echo "probe.sh: $answer" >&2; exit 1 ;;
    *'"text_output":""'*) echo "probe.sh: an empty answer: $answer" >&2; exit 1 ;;
    *'"text_output"'*) exit 0 ;;
    *) echo "probe.sh: not an answer: $answer" >&2; exit 1 ;;
esac
