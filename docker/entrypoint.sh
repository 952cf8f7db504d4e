#!/bin/sh
# Starts the server, and before it, where there is a GPU, CUDA's Multi-Process Service: the models are processes of
# their own, and without it the GPU runs the kernels of one at a time (https://docs.nvidia.com/deploy/mps/).
set -eu

# A pipe directory that is set already is that of somebody else's daemon.
if [ -z "${CUDA_MPS_PIPE_DIRECTORY:-}" ] && nvidia-smi -L >/dev/null 2>&1; then
    mps="${TMPDIR:-/tmp}/nvidia-mps-$(id -u)"
    mkdir -p -m 700 "$mps"
    if CUDA_MPS_PIPE_DIRECTORY="$mps" CUDA_MPS_LOG_DIRECTORY="$mps" nvidia-cuda-mps-control -d; then
        export CUDA_MPS_PIPE_DIRECTORY="$mps" CUDA_MPS_LOG_DIRECTORY="$mps"
    else
        echo "warning: CUDA's Multi-Process Service did not start; the models take turns on the GPU" >&2
    fi
fi
exec aircheck serve "$@"
