#!/usr/bin/env bash
# Unloads the model and loads it again, for instance with another model.yaml. Take the replica out of the router
# first. Not the cure when the model's process has died: then the unload never ends, and what is left of the
# engine may hold the GPU's memory. This script says so and gives up; restart the container.
set -euo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
repository="http://127.0.0.1:${HOUSE_HTTP_PORT:-8000}/v2/repository"
ask() { curl --silent --show-error --fail-with-body --request POST "$@"; }

# Unload first, always: a load over a loaded model puts a second engine on the same GPU. And wait for it: the
# call returns at once, before the requests in flight have ended and the engine has let go of the memory.
ask --max-time 30 "$repository/models/tensorrt_llm/unload" --data '{}'
for ((waited = 0; ; waited++)); do
    index="$(ask --max-time 30 "$repository/index" --data '{}')"
    case "$index" in
        *'"state":"UNAVAILABLE"'*) break ;;
    esac
    if [ "$waited" -ge "${HOUSE_DRAIN_S:-120}" ]; then
        echo "reload.sh: not unloaded after $waited s, so its process has died: restart the container. $index" >&2
        exit 1
    fi
    sleep 1
done
ask --max-time "${HOUSE_WAIT_S:-900}" "$repository/models/tensorrt_llm/load" --data '{}'
exec "$here/probe.sh"
