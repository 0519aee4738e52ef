#!/usr/bin/env bash
# run.sh HARNESS SEEDS FOUND: replays the seeds, then fuzzes; an input that fails is left in FOUND.
set -euo pipefail
harness=$1 seeds=$2 found=$3
mkdir -p "$seeds" "$found/new"
"$harness" -runs=0 -rss_limit_mb=2048 -timeout=10 -artifact_prefix="$found/" "$seeds"
exec "$harness" -max_total_time="${GATEHOUSE_FUZZ_SECONDS:-5}" -max_len=65536 -rss_limit_mb=2048 -timeout=10 \
  -print_final_stats=1 -artifact_prefix="$found/" "$found/new" "$seeds"
