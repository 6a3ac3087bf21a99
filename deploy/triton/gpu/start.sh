#!/usr/bin/env bash
# Inside the container: Triton with the one model. serve.sh starts it and says what may be set. Arguments are
# handed on to tritonserver.
set -euo pipefail

address="${HOUSE_ADDRESS:-127.0.0.1}"
tls=()
if [ -n "${HOUSE_TLS:-}" ]; then
    tls=(
        --grpc-use-ssl-mutual=true
        "--grpc-server-cert=$HOUSE_TLS/server.crt"
        "--grpc-server-key=$HOUSE_TLS/server.key"
        "--grpc-root-cert=$HOUSE_TLS/ca.crt"
    )
elif [ "$address" != 127.0.0.1 ]; then
    echo "start.sh: $address without HOUSE_TLS would hand prompts and the model's controls to the network" >&2
    exit 2
fi

trace=()
if [ -n "${HOUSE_TRACES:-}" ]; then
    # TIMESTAMPS and never TENSORS: that level writes every prompt and answer into the trace.
    trace=(
        --trace-config mode=opentelemetry
        --trace-config rate=1
        --trace-config level=TIMESTAMPS
        --trace-config "opentelemetry,url=$HOUSE_TRACES"
        --trace-config opentelemetry,resource=service.name=triton
    )
fi

# exec, and no mpirun before it: SIGTERM must reach Triton, which then finishes what it has begun.
exec tritonserver \
    "--model-repository=${HOUSE_REPOSITORY:-/repository}" \
    --model-control-mode=explicit \
    --load-model=tensorrt_llm \
    --strict-readiness=true \
    "--exit-timeout-secs=${HOUSE_DRAIN_S:-120}" \
    --disable-auto-complete-config \
    "--grpc-address=$address" "--grpc-port=${HOUSE_GRPC_PORT:-8001}" \
    --http-address=127.0.0.1 "--http-port=${HOUSE_HTTP_PORT:-8000}" \
    --metrics-address=127.0.0.1 "--metrics-port=${HOUSE_METRICS_PORT:-8002}" \
    --metrics-config histogram_latencies=true \
    "--backend-config=python,shm-region-prefix-name=homeward_${HOUSE_GRPC_PORT:-8001}_" \
    '--grpc-header-forward-pattern=traceparent|tracestate|x-request-id' \
    --log-verbose=0 \
    "${tls[@]}" "${trace[@]}" "$@"
