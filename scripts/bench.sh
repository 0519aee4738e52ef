#!/usr/bin/env bash
# Runs the benchmarks: scripts/bench.sh [--quick] [--previous FILE] [--peer-cpu-ms MS]
# Leaves build/bench/report.json, report.md and throughput.svg. --previous: a report.json to compare with (default:
# build/bench/previous.json, if there); --peer-cpu-ms: strongSwan's CPU time for the same attestation, measured beside.
# docs/performance.md says what is measured and how.
. "$(dirname "$0")/lib/packages.sh"
micro=(--benchmark_repetitions=5) state=(--devices 1000000 --results 10000000) files=2000000 ingestion=(--rounds 3) attestations=100000 quick=() report=()
while [ $# -gt 0 ]; do
  case $1 in
    --quick)
      micro=(--benchmark_repetitions=2 --benchmark_min_time=0.05) state=(--sessions 1000 --rounds 2 --devices 5000 --results 20000) files=200000 ingestion=(--rounds 1 --mb 20 --rpms 200) attestations=5000 quick=(--quick)
      shift;;
    --previous|--peer-cpu-ms) report+=("$1" "${2:?"$1 wants a value"}"); shift 2;;
    -h|--help) sed -n '2,5s/^# //p' "$0"; exit 0;;
    *) echo "usage: scripts/bench.sh [--quick] [--previous FILE] [--peer-cpu-ms MS]" >&2; exit 2;;
  esac
done
cd "$root"
scripts/build.sh release
mkdir -p build/bench
# What a part leaves is of this run, or isn't there: the report says so then, and the other parts go on.
rm -f build/bench/{micro,server,store,verdicts,state,ingest}.json
part() {  # NAME COMMAND...: what the command prints
  local name=$1
  shift
  say "$name"
  if "$@" >"build/bench/$name.new"; then
    mv "build/bench/$name.new" "build/bench/$name.json"
  else
    echo "$name: not measured: ended with $?" >&2
  fi
}
verdicts() {  # differing ones (1) are a figure, too
  build/release/bin/randomised_attestations --attestations=$attestations --workers="$jobs" --json || [ $? -eq 1 ]
}
part micro build/release/bin/gatehouse-bench --benchmark_enable_random_interleaving=true --benchmark_report_aggregates_only=true \
  --benchmark_format=json "${micro[@]}"
part server python3 bench/server/server.py "${quick[@]}"
part verdicts verdicts
part state build/release/bin/gatehouse-state-bench --folder build/bench/state "${state[@]}"
part store build/release/bin/gatehouse-store-bench --files $files --store build/bench/store --json
# Real packages from apt's mirror, once, and RPM packages that are made here.
# shellcheck disable=SC2086
install_packages $ingest_bench_packages || echo "note: not all of $ingest_bench_packages can be installed"
part ingest python3 bench/ingest/ingest.py --folder build/bench/ingest "${ingestion[@]}"
python3 bench/report/report.py "${report[@]}"
sed -n '/^## Goals/,/^## Throughput/p' build/bench/report.md | grep '^|'
echo "build/bench/report.md"
