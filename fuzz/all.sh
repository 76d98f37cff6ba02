#!/usr/bin/env bash
# Gives changed files to every reader on all cores: fuzz/all.sh PROGRAM INPUTS RESULTS.
# PROGRAM is what `cargo test --release --workspace --test fuzz --no-run` names, and INPUTS are
# those of a reader. A process measures its own time and memory, so each takes one reader at a
# time, and a tenth of its inputs.
set -euo pipefail
program=$1
parts=10
export FUZZ_INPUTS=$(($2 / parts)) FUZZ_RESULTS=$3
readers=$("$program" --list --format terse | sed -n 's/: test$//p')
for part in $(seq 0 $((parts - 1))); do
    for reader in $readers; do
        echo "$((part * $2)) $reader"
    done
done | xargs -P "$(nproc)" -L 1 sh -c 'FUZZ_SEED=$1 "$0" --quiet --exact "$2"' "$program"
