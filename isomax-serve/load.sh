#!/usr/bin/env bash
# Requests a second and times of answers, of a service that runs: isomax-serve/load.sh URL IMAGE [SECONDS]
# Needs wrk. Run nothing else on the machine.
set -euo pipefail
url=${1:?say where the service is, such as http://127.0.0.1:8080}
image=${2:?name an image file}
seconds=${3:-10}

script=$(mktemp)
trap 'rm -f "$script"' EXIT
cat >"$script" <<LUA
local file = io.open("$image", "rb")
wrk.method = "POST"
wrk.body = file:read("*a")
wrk.headers["content-type"] = "application/octet-stream"
done = function(summary, latency, requests)
    local errors = summary.errors.status + summary.errors.timeout + summary.errors.read
    io.write(string.format("%.0f requests/s, p50 %.1f ms, p99 %.1f ms, %d errors of %d\n",
        summary.requests / summary.duration * 1e6, latency:percentile(50) / 1e3,
        latency:percentile(99) / 1e3, errors, summary.requests))
end
LUA
for clients in 1 8 64; do
    printf '%2d clients: ' "$clients"
    threads=$((clients < 2 ? 1 : 2))
    wrk --threads "$threads" --connections "$clients" --duration "${seconds}s" --timeout 30s --latency \
        --script "$script" "$url/v1/predict" | tail -n 1
done
