#!/usr/bin/env bash
# Runs fuzz targets for some seconds each, one after the other, and tells what came of it:
#
#     fuzz/run.sh SECONDS [TARGET…]
#
# All targets if none is named. The exit status is 0 if there were no findings, 1 if there were any or
# a target could not be run, 2 for a wrong call. In the environment:
#
#     SANITIZER        none (the default), address, …
#     FEATURES         features of the fuzz crate, such as libjpeg
#     CODEGEN_UNITS    fewer make a slower build and faster targets (default: 16)
#     FUZZ_ARGUMENTS   more flags for libFuzzer, such as '-fork=2 -ignore_crashes=1'
set -euo pipefail
cd "$(dirname "$0")/.."

usage() {
    echo "usage: fuzz/run.sh SECONDS [TARGET…]" >&2
    exit 2
}

(($# >= 1)) || usage
seconds=$1
shift
[[ $seconds =~ ^[1-9][0-9]*$ ]] || usage

# Flags of sanitizers are for nightly compilers; this makes a stable one take them.
export RUSTC_BOOTSTRAP=1
build=(--fuzz-dir fuzz --sanitizer "${SANITIZER:-none}" --codegen-units "${CODEGEN_UNITS:-16}")
if [[ -n ${FEATURES:-} ]]; then
    build+=(--features "$FEATURES")
fi
read -ra more <<<"${FUZZ_ARGUMENTS:-}"

known=$(cargo fuzz list --fuzz-dir fuzz)
if (($# == 0)); then
    mapfile -t targets <<<"$known"
else
    targets=("$@")
    for target in "${targets[@]}"; do
        if ! grep -qxF -- "$target" <<<"$known"; then
            printf 'no target %s; known:\n%s\n' "$target" "$known" >&2
            exit 2
        fi
    done
fi

# The dictionary of a target, if one helps.
dictionary() {
    case $1 in
        pickle | weights_zip | weights_legacy | cifar_python) echo pickle ;;
        cifar_archive | fetch_unpack) echo tar ;;
        *) echo "$1" ;;
    esac
}

# What the target takes of its own. Where its mutator makes whole archives or records, short ones are
# none at all.
flags() {
    case $1 in
        weights_zip | cifar_archive | fetch_unpack) echo -len_control=0 ;;
        cifar_binary) echo -len_control=0 -max_len=16384 ;;
    esac
}

# How many findings were written since a file was: of one that was known before, the file is new too.
findings() {
    find "fuzz/artifacts/$1" -type f -newer "$2" \
        \( -name 'crash-*' -o -name 'oom-*' -o -name 'timeout-*' -o -name 'leak-*' \) | wc -l
}

python3 fuzz/seeds.py
if (($# == 0)); then
    cargo fuzz build "${build[@]}"
else
    for target in "${targets[@]}"; do
        cargo fuzz build "${build[@]}" "$target"
    done
fi

# Files that targets write, in memory if there is a place for that.
place=${TMPDIR:-/tmp}
if [[ -d /dev/shm && -w /dev/shm ]]; then
    place=/dev/shm
fi
FUZZ_SCRATCH=$(mktemp -d "$place/isomax-fuzz.XXXXXX")
export FUZZ_SCRATCH
trap 'rm -rf "$FUZZ_SCRATCH"' EXIT

failed=0
line='%-16s %8s %12s %9s  %s\n'
# shellcheck disable=SC2059
printf "$line" target seconds executions findings ''
for target in "${targets[@]}"; do
    mkdir -p "fuzz/corpus/$target" "fuzz/artifacts/$target"
    log=fuzz/artifacts/$target.log
    arguments=("-max_total_time=$seconds" -rss_limit_mb=2048 -timeout=20 -print_final_stats=1)
    dict=fuzz/dictionaries/$(dictionary "$target").dict
    if [[ -f $dict ]]; then
        arguments+=("-dict=$dict")
    fi
    read -ra own <<<"$(flags "$target")"
    stamp=$FUZZ_SCRATCH/began
    touch "$stamp"
    began=$SECONDS
    status=0
    cargo fuzz run "${build[@]}" "$target" -- "${arguments[@]}" "${own[@]}" "${more[@]}" \
        >"$log" 2>&1 </dev/null || status=$?
    took=$((SECONDS - began))
    executions=$(awk '/^stat::number_of_executed_units:/ { sum += $2 } END { print sum + 0 }' "$log")
    found=$(findings "$target" "$stamp")
    remark=''
    if ((found > 0)); then
        failed=1
        remark="see fuzz/artifacts/$target/ and $log"
    elif ((status != 0)); then
        failed=1
        remark="ended with status $status, see $log"
    fi
    # shellcheck disable=SC2059
    printf "$line" "$target" "$took" "$executions" "$found" "$remark"
    # Files of processes that ended in a finding.
    find "$FUZZ_SCRATCH" -mindepth 1 -delete
done
exit "$failed"
