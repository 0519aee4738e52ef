#!/usr/bin/env bash
# Runs the benchmarks: scripts/bench.sh [--quick]. Leaves build/bench/report.json and report.md.
. "$(dirname "$0")/lib/packages.sh"
repetitions=5 rounds=401 files=2000000 ingestion=(--rounds 3)
case ${1:-} in
  --quick) repetitions=2 rounds=41 files=200000 ingestion=(--rounds 1 --mb 40 --rpms 400);;
  "") ;;
  *) echo "usage: scripts/bench.sh [--quick]" >&2; exit 2;;
esac
cd "$root"
scripts/build.sh release
mkdir -p build/bench
build/release/bin/gatehouse-bench --benchmark_enable_random_interleaving=true --benchmark_repetitions=$repetitions \
  --benchmark_report_aggregates_only=true --benchmark_out=build/bench/micro.json --benchmark_out_format=json
for tls in mutual server; do
  build/release/bin/gatehouse-roofline --tls $tls --rounds $rounds --json | tee "build/bench/roofline-$tls.json"
done
build/release/bin/gatehouse-store-bench --files $files --store build/bench/store --json | tee build/bench/store.json
# Real packages from apt's mirror, once, and RPM packages that are made here.
# shellcheck disable=SC2086
install_packages $ingest_bench_packages || echo "note: not all of $ingest_bench_packages can be installed"
python3 bench/ingest/ingest.py --folder build/bench/ingest "${ingestion[@]}" | tee build/bench/ingest.json
python3 - <<'PY'
import json, platform, subprocess
micro = json.load(open("build/bench/micro.json"))
report = {"machine": {"cpu": next((l.split(":")[1].strip() for l in open("/proc/cpuinfo") if l.startswith("model name")), "?"),
                      "kernel": platform.release(), "cores": micro["context"]["num_cpus"]},
          "commit": subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip(),
          "micro": [{k: b[k] for k in ("name", "cpu_time", "real_time", "time_unit")} for b in micro["benchmarks"] if b["aggregate_name"] == "median"],
          "roofline": [json.load(open(f"build/bench/roofline-{t}.json")) for t in ("mutual", "server")],
          "store": json.load(open("build/bench/store.json")),
          "ingest": json.load(open("build/bench/ingest.json"))}
json.dump(report, open("build/bench/report.json", "w"), indent=1)
with open("build/bench/report.md", "w") as f:
    f.write(f"# Benchmarks, {report['machine']['cpu']}, commit {report['commit']}\n\n| benchmark | CPU | unit |\n|---|---|---|\n")
    for b in report["micro"]:
        f.write(f"| {b['name']} | {b['cpu_time']:.1f} | {b['time_unit']} |\n")
    for r in report["roofline"]:
        f.write(f"\nRoofline, TLS {r['workload']['tls']}: primitives {r['sum_us']} us, server {r['pipeline_us']} us, ratio {r['ratio']}\n")
    s = report["store"]
    f.write(f"\nReference store of {s['files']} files: {s['references_per_s']:.0f} references/s, {s['bytes_per_reference']} bytes each, "
            f"opened in {s['open_ms']} ms, hot lookup {s['hot_ns']} ns, miss {s['miss_ns']} ns; a day's changes {s['delta_s']} s of {s['insert_s']} s\n")
    f.write("\n| ingestion | measured | goal | met |\n|---|---|---|---|\n")
    for g in report["ingest"]["goals"]:
        f.write(f"| {g['part']}: {g['figure'].replace('_', ' ')} | {g['value']} | {g['goal']} | {'yes' if g['met'] else 'no'} |\n")
    for skipped in report["ingest"].get("skipped", []):
        f.write(f"\nSkipped: {skipped}\n")
PY
echo "build/bench/report.md"
