#!/usr/bin/env bash
# The main job, on this very machine: builds Gatehouse, takes reference hashes from the Debian packages of the installed
# files, serves, and attests an endpoint with a software TPM three times: clean, clean again, and with one file changed.
#   scripts/demo.sh
# Exit 0 only if every verdict is the expected one. Leaves build/demo/: verdict-1.json, verdict-2.json, verdict-3.json,
# server.log, gatehouse.toml, refdb/, state/, files.list, packages/. Stops all it started, also when interrupted.
. "$(dirname "$0")/lib/packages.sh"
. "$(dirname "$0")/lib/wait.sh"
case ${1:-} in
  -h|--help) sed -n '2,6s/^# \{0,1\}//p' "$0"; exit 0;;
  "") ;;
  *) echo "usage: scripts/demo.sh" >&2; exit 2;;
esac
cd "$root"
# shellcheck disable=SC2086
install_packages $build_packages $demo_packages

bin=$root/build/demo-build/bin
work=$root/build/demo
say "building gatehouse and gatehouse-endpoint (the longest step)"
mkdir -p build
cmake --preset demo -B build/demo-build >build/demo-configure.log 2>&1 || { cat build/demo-configure.log; exit 4; }
cmake --build build/demo-build -j "$jobs" --target gatehouse gatehouse-endpoint gatehouse-tpm-extend

mkdir -p "$work/packages"
for leftover in state tpm refdb; do rm -rf "${work:?}/$leftover"; done
rm -f "$work"/*.json "$work"/*.log "$work"/*.bin "$work"/*.pid
mkdir -p "$work/tpm" "$work/state" "$work/tls"
chmod 700 "$work/tls" "$work/state"
exec 3>&1

started=()
stop_all() {
  local pid
  for pid in "${started[@]}"; do kill "$pid" 2>/dev/null || true; done
  for pid in "${started[@]}"; do wait "$pid" 2>/dev/null || true; done
  started=()
}
trap stop_all EXIT
trap 'exit 130' INT TERM HUP
fail() {
  echo "demo: $*" >&2
  [ ! -s "$work/server.log" ] || { echo "the end of $work/server.log:" >&2; tail -n 20 "$work/server.log" >&2; }
  exit 1
}
free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
field() { python3 -c 'import json,sys; d = json.load(open(sys.argv[1]))
for k in sys.argv[2].split("."): d = d[int(k)] if isinstance(d, list) else d[k]
print(d)' "$1" "$2"; }

say "choosing executables and libraries of this machine, with their Debian packages"
python3 scripts/lib/demo_evidence.py choose --work "$work"

say "downloading the packages at their installed versions"
(
  cd "$work/packages"
  while IFS= read -r package; do
    name=${package%%[:=]*} version=${package#*=}
    have=$(compgen -G "${name}_${version//:/%3a}_*.deb" || true)
    [ -n "$have" ] || echo "$package"
  done <"$work/packages.list" >"$work/to-download.list"
  if [ -s "$work/to-download.list" ]; then
    echo "$(wc -l <"$work/to-download.list") to download"
    xargs -r apt-get download -q -o APT::Sandbox::User=root <"$work/to-download.list" >"$work/download.log" 2>&1 ||
      { tail -n 5 "$work/download.log" >&2; exit 4; }
  fi
) || fail "the packages can't be downloaded"
du -sh "$work/packages"

say "taking reference hashes from the packages"
product=$(. /etc/os-release && echo "${ID^} $VERSION_ID $(uname -m)")
"$bin/gatehouse" refdb ingest --refdb "$work/refdb" --product "$product" --json "$work/packages" >"$work/ingest.json"
"$bin/gatehouse" refdb stats --refdb "$work/refdb"

say "making the endpoint: a software TPM, a firmware log, an IMA list of the chosen files"
eventlog=$root/tests/data/interop/evidence/base/binary_bios_measurements
victim=$(grep -m1 -E '/s?bin/(sha256sum|tar|ls)$' "$work/files.list" || head -n1 "$work/files.list")
# Two programs of no package: the references can't know them.
cp "$bin/gatehouse-endpoint" "$work/gatehouse-endpoint"
printf '#!/bin/sh\necho site script\n' >"$work/site-script" && chmod +x "$work/site-script"
unknown=(--unknown "$work/gatehouse-endpoint" --unknown "$work/site-script")
make_list() { python3 scripts/lib/demo_evidence.py list --work "$work" --gatehouse "$bin/gatehouse" --eventlog "$eventlog" "${unknown[@]}" "$@"; }
listed=$(make_list --output "$work/ima-clean.bin")
make_list --output "$work/ima-changed.bin" --change "$victim" >/dev/null
echo "$listed files are in the list, 2 of them in no package"

# tpm2-tss expects swtpm's control channel on the port behind the command channel's.
tpm_port=$(python3 -c 'import socket
while True:
    a, b = socket.socket(), socket.socket()
    a.bind(("127.0.0.1", 0))
    try:
        b.bind(("127.0.0.1", a.getsockname()[1] + 1))
    except OSError:
        continue
    print(a.getsockname()[1])
    break')
control_port=$((tpm_port + 1))
tcti="swtpm:host=127.0.0.1,port=$tpm_port"
boot() {  # IMA list: starts the TPM at locality 3 as the firmware log says, extends log and list into the PCRs
  if [ -n "${tpm_pid:-}" ]; then
    kill "$tpm_pid" 2>/dev/null || true
    wait "$tpm_pid" 2>/dev/null || true
  fi
  swtpm socket --tpm2 --tpmstate "dir=$work/tpm" --server "type=tcp,port=$tpm_port,bindaddr=127.0.0.1" \
    --ctrl "type=tcp,port=$control_port,bindaddr=127.0.0.1" --flags not-need-init >"$work/swtpm.log" 2>&1 &
  tpm_pid=$!
  started+=("$tpm_pid")
  await "$tpm_pid" listening "$control_port" || fail "swtpm didn't start: $(cat "$work/swtpm.log")"
  "$bin/gatehouse-tpm-extend" --tcti "$tcti" --startup-locality 3 \
    --eventlog "$eventlog" --ima "$1"
}
boot "$work/ima-clean.bin"
"$bin/gatehouse-endpoint" provision --tcti "$tcti" --handle 0x81010002 --pem "$work/ak.pem" --json >"$work/provision.json"
device=$(field "$work/provision.json" key_id)
echo "the endpoint's attestation key has key id $device"

say "making certificates and starting gatehouse serve"
(
  cd "$work/tls"
  openssl ecparam -name prime256v1 -genkey -noout -out ca.key
  openssl req -x509 -new -key ca.key -subj "/O=Gatehouse demo/CN=demo CA" -days 30 -out ca.pem
  for name in server endpoint; do
    openssl ecparam -name prime256v1 -genkey -noout -out $name.key
    openssl req -new -key $name.key -subj "/O=Gatehouse demo/CN=$name.demo" -out $name.csr
  done
  printf 'subjectAltName=DNS:localhost,IP:127.0.0.1\nextendedKeyUsage=serverAuth\nbasicConstraints=CA:false\n' >server.ext
  printf 'subjectAltName=DNS:endpoint.demo\nextendedKeyUsage=clientAuth\nbasicConstraints=CA:false\n' >endpoint.ext
  for name in server endpoint; do
    openssl x509 -req -in $name.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 30 -extfile $name.ext -out $name.pem
  done
) >"$work/tls/openssl.log" 2>&1 || fail "openssl: $(tail -n 2 "$work/tls/openssl.log")"
port=$(free_port)
cat >"$work/gatehouse.toml" <<TOML
# Made by scripts/demo.sh.
[pt_tls]
listen = ["127.0.0.1:$port"]
certificate = "tls/server.pem"
key = "tls/server.key"
client_ca = "tls/ca.pem"
[refdb]
path = "refdb"
[state]
path = "state"
keep_evidence = "all"
TOML
"$bin/gatehouse" serve --config "$work/gatehouse.toml" 2>"$work/server.log" &
server_pid=$!
started+=("$server_pid")
await "$server_pid" listening "$port" || fail "gatehouse serve didn't start"

gatehouse() { "$bin/gatehouse" "$@" --config "$work/gatehouse.toml"; }
attest() {  # IMA list, verdict file, expected recommendation
  local code=0 got
  "$bin/gatehouse-endpoint" attest --server "127.0.0.1:$port" --ca "$work/tls/ca.pem" \
    --certificate "$work/tls/endpoint.pem" --key "$work/tls/endpoint.key" \
    --tcti "$tcti" --ak 0x81010002 --eventlog "$eventlog" --ima "$1" --inventory "$work/inventory" || code=$?
  [ $code -le 1 ] || fail "the endpoint couldn't attest (exit code $code)"
  gatehouse session list --last 1 --json >"$work/$2" || fail "the session isn't in the store"
  got=$(field "$work/$2" recommendation)
  echo "   verdict: $got; $(field "$work/$2" summary)"
  case $3 in
    allow) [ "$got" = allow ] && [ $code -eq 0 ] || fail "expected allow, got $got (exit code $code): $work/$2";;
    *) [ "$got" != allow ] && [ $code -eq 1 ] || fail "expected a refusal, got $got (exit code $code): $work/$2";;
  esac
}

say "enrolling the device: its key is trusted by the operator"
gatehouse device add "$device" --ak "$work/ak.pem" --product "$product" --trust
echo "-- first contact: the firmware has no approved baseline yet, so the endpoint is isolated and a baseline proposed"
attest "$work/ima-clean.bin" enrolment.json isolate
gatehouse device baseline list "$device"
gatehouse device baseline approve "$device"

say "1. the clean endpoint"
attest "$work/ima-clean.bin" verdict-1.json allow
say "2. the same endpoint again"
attest "$work/ima-clean.bin" verdict-2.json allow
say "3. the endpoint after a reboot, with $victim changed after the reference was taken"
boot "$work/ima-changed.bin"
attest "$work/ima-changed.bin" verdict-3.json refuse

python3 - "$work" "$victim" "$listed" <<'PY' || fail "the verdicts don't say what was done"
import json, sys
work, victim, listed = sys.argv[1], sys.argv[2], int(sys.argv[3])
for n, differ in ((1, 0), (2, 0), (3, 1)):
    v = json.load(open(f"{work}/verdict-{n}.json"))
    ima = v["ima"]
    want = {"processed": listed, "ok": listed - 2 - differ, "unknown": 2, "differ": differ, "failed": 0}
    got = {k: ima[k] for k in want}
    if got != want:
        sys.exit(f"verdict-{n}.json: expected {want}, got {got}")
    if v["quote"]["status"] != "ok":
        sys.exit(f"verdict-{n}.json: the quote is {v['quote']['status']}")
finding = [f for f in v["findings"] if f["status"] == "differ"]
if len(finding) != 1 or finding[0]["path"] != victim or not finding[0]["package"]:
    sys.exit(f"verdict-3.json doesn't name {victim}")
f = finding[0]
print(f"\nThe changed file is named: {f['path']} of {f['package']} {f['version']}")
print(f"   template hash that came: {f['measured']}")
print(f"   references:              {', '.join(f['expected']) if isinstance(f['expected'], list) else f['expected']}")
PY
kill "$server_pid"
wait "$server_pid" || fail "gatehouse serve ended with exit code $?"

say "done: the clean endpoint was allowed twice, the changed one refused"
echo "verdicts: $work/verdict-1.json verdict-2.json verdict-3.json"
echo "log:      $work/server.log"
echo "stores:   $work/refdb $work/state (gatehouse session list --state $work/state)"
