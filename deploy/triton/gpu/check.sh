#!/usr/bin/env bash
# Says whether this machine can run the GPU house: driver, GPU, memory, disk, Docker. Changes nothing.
set -uo pipefail

trouble=0
good() { printf 'ok    %s\n' "$1"; }
bad() { printf 'NO    %s\n      %s\n' "$1" "$2"; trouble=1; }

if ! command -v nvidia-smi >/dev/null; then
    bad "no nvidia-smi" "Install NVIDIA's driver, branch 590 or newer."
    exit 1
fi

IFS=, read -r name driver capability memory_mib used_mib < <(
    nvidia-smi --id="${HOUSE_GPU:-0}" \
        --query-gpu=name,driver_version,compute_cap,memory.total,memory.used --format=csv,noheader,nounits | tr -d ' '
)
good "GPU ${HOUSE_GPU:-0}: $name, driver $driver"

if [ "${driver%%.*}" -ge 590 ]; then
    good "driver branch ${driver%%.*}"
else
    bad "driver branch ${driver%%.*}, and CUDA 13.1 was tested by NVIDIA with 590.44.01" \
        "Update it, or read 'CUDA compatibility' of NVIDIA's release notes for the branches that may stay."
fi
if [ "$(printf '%s\n8.9\n' "$capability" | sort -V | head -1)" = 8.9 ]; then
    good "compute capability $capability has FP8"
else
    bad "compute capability $capability has no FP8" "Use Ada (8.9), Hopper (9.0) or newer, or BF16 weights and another sizing."
fi
if [ "$memory_mib" -ge 79000 ]; then
    good "$memory_mib MiB of memory"
else
    bad "$memory_mib MiB of memory, and the sizing counts on 80 GB" "It may run; then kv_cache_config is smaller than docs/gpu.md says."
fi
if [ "$used_mib" -lt 1000 ]; then
    good "$used_mib MiB of it in use"
else
    bad "$used_mib MiB of it in use" "nvidia-smi names the process. The engine takes 90 % of what is free when it loads."
fi

if docker info --format '{{json .Runtimes}}' 2>/dev/null | grep -q nvidia; then
    good "Docker has the nvidia runtime"
else
    bad "Docker does not answer, or has no nvidia runtime" "Install nvidia-container-toolkit, run 'nvidia-ctk runtime configure --runtime=docker', restart Docker."
fi
root="$(docker info --format '{{.DockerRootDir}}' 2>/dev/null)"
free_gb="$(df --output=avail -BG "${root:-/}" 2>/dev/null | tail -1 | tr -dc 0-9)"
if [ "${free_gb:-0}" -ge 60 ]; then
    good "$free_gb GB free for images"
else
    bad "${free_gb:-0} GB free for images" "The image is 14.2 GB compressed and more than twice that unpacked: have 60 GB."
fi
exit "$trouble"
