#!/usr/bin/env bash
# Starts one replica of the GPU house on one GPU, in the background, and waits until it has answered a prompt.
#
#   deploy/triton/gpu/serve.sh /srv/models/llama-3.1-8b-fp8 [ARGUMENTS OF tritonserver]
#
# HOUSE_GPU            index or UUID of the GPU; default 0
# HOUSE_NAME           name of the container; default homeward-triton-<GPU>
# HOUSE_IMAGE          default homeward-triton-gpu:26.07
# HOUSE_GRPC_PORT, HOUSE_HTTP_PORT, HOUSE_METRICS_PORT   default 8001, 8000, 8002: set all three for a second replica
# HOUSE_ADDRESS        where gRPC listens; default 127.0.0.1, and anything else asks for HOUSE_TLS
# HOUSE_TLS            folder with server.crt, server.key and ca.crt: mutual TLS
# HOUSE_TRACES         OTLP/HTTP address for traces, such as http://127.0.0.1:4318/v1/traces; default none
# HOUSE_DRAIN_S        how long running requests may take when it stops; default 120
# HOUSE_PROBE_S        how long a probe may take, for the health check; default 20
# HOUSE_MODEL_YAML     a model.yaml in place of the image's, to try an option without a build
# HOUSE_WAIT_S         how long to wait for the first answer; default 900
set -euo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
weights="$(cd "${1:?usage: serve.sh FOLDER_OF_WEIGHTS}" && pwd)"
[ -s "$weights/config.json" ] || { echo "serve.sh: $weights has no config.json; see fetch_model.sh" >&2; exit 2; }
shift

gpu="${HOUSE_GPU:-0}"
name="${HOUSE_NAME:-homeward-triton-$gpu}"
drain_s="${HOUSE_DRAIN_S:-120}"
export HOUSE_HTTP_PORT="${HOUSE_HTTP_PORT:-8000}"

# On the machine's own network the old replica would answer in the place of a new one that can't bind.
if curl --silent --max-time 5 --output /dev/null "http://127.0.0.1:$HOUSE_HTTP_PORT/v2/health/live"; then
    echo "serve.sh: port $HOUSE_HTTP_PORT answers already; a second replica needs HOUSE_GRPC_PORT, HOUSE_HTTP_PORT and" \
        "HOUSE_METRICS_PORT" >&2
    exit 2
fi

more=()
[ -z "${HOUSE_TLS:-}" ] || more+=(--volume "$(cd "$HOUSE_TLS" && pwd):/tls:ro" --env HOUSE_TLS=/tls)
[ -z "${HOUSE_MODEL_YAML:-}" ] \
    || more+=(--volume "$(realpath "$HOUSE_MODEL_YAML"):/repository/tensorrt_llm/1/model.yaml:ro")

# --network host, because the addresses that start.sh binds are the machine's own: loopback stays loopback.
docker run --detach --name "$name" --restart on-failure:5 \
    --gpus "device=$gpu" --network host --shm-size 2g --ulimit memlock=-1 --ulimit stack=67108864 \
    --security-opt no-new-privileges --stop-timeout "$((drain_s + 30))" \
    --log-opt max-size=50m --log-opt max-file=3 \
    --volume "$weights:/weights:ro" \
    --env HOUSE_ADDRESS --env HOUSE_GRPC_PORT --env HOUSE_HTTP_PORT --env HOUSE_METRICS_PORT --env HOUSE_TRACES \
    --env HOUSE_PROBE_S \
    --env "HOUSE_DRAIN_S=$drain_s" --env TLLM_WORKER_USE_SINGLE_PROCESS \
    "${more[@]}" "${HOUSE_IMAGE:-homeward-triton-gpu:${TRITON_RELEASE:-26.07}}" "$@" >/dev/null

echo "started $name; waiting for its first answer (docker logs -f $name shows the load)"
for ((waited = 0; waited < ${HOUSE_WAIT_S:-900}; waited += 5)); do
    if "$here/probe.sh" 2>/dev/null; then
        echo "$name answers after about $waited s"
        exit 0
    fi
    # Not "running" alone: Docker starts a container that failed again, and calls that running.
    if [ "$(docker inspect --format '{{.State.Running}} {{.RestartCount}}' "$name" 2>/dev/null)" != "true 0" ]; then
        docker stop "$name" >/dev/null || true
        docker logs --tail 60 "$name" >&2 || true
        echo "serve.sh: the load failed; the lines above say why. Remove it with: docker rm $name" >&2
        exit 1
    fi
    sleep 5
done
docker logs --tail 40 "$name" >&2 || true
echo "serve.sh: no answer from $name after ${HOUSE_WAIT_S:-900} s" >&2
exit 1
