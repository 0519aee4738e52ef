# Sourced by the demo's two forms: the endpoint's machine, which is a software TPM, a firmware log and IMA lists; certificates;
# and how a verdict is judged. Wants bin, work (what both forms share) and run (where this one leaves its results).
# shellcheck shell=bash disable=SC2034,SC2154
rm -rf "${run:?}/state" "$run/tpm" "$run/tls"
mkdir -p "$run/tpm" "$run/state" "$run/tls"
chmod 700 "$run/tls" "$run/state"
fail() {
  echo "demo: $*" >&2
  [ ! -s "$run/server.log" ] || { echo "the end of $run/server.log:" >&2; tail -n 20 "$run/server.log" >&2; }
  exit 1
}
field() { python3 -c 'import json,sys; d = json.load(open(sys.argv[1]))
for k in sys.argv[2].split("."): d = d[int(k)] if isinstance(d, list) else d[k]
print(d)' "$1" "$2"; }

say "making the endpoint: a software TPM, a firmware log, an IMA list of the chosen files"
eventlog=$root/tests/data/interop/evidence/base/binary_bios_measurements
victim=$(grep -m1 -E '/s?bin/(sha256sum|tar|ls)$' "$work/files.list" || head -n1 "$work/files.list")
# Two programs of no package: the references can't know them.
cp "$bin/gatehouse-endpoint" "$run/gatehouse-endpoint"
printf '#!/bin/sh\necho site script\n' >"$run/site-script" && chmod +x "$run/site-script"
unknown=(--unknown "$run/gatehouse-endpoint" --unknown "$run/site-script")
make_list() {
  python3 scripts/lib/demo_evidence.py list --work "$work" --gatehouse "$bin/gatehouse" --eventlog "$eventlog" \
    "${unknown[@]}" "$@"
}
listed=$(make_list --output "$run/ima-clean.bin")
make_list --output "$run/ima-changed.bin" --change "$victim" >/dev/null
echo "$listed files are in the list, 2 of them in no package"

tpm_pid=''
boot() {  # IMA list: starts the TPM at locality 3 as the firmware log says, extends log and list into the PCRs
  if [ -n "$tpm_pid" ]; then
    kill "$tpm_pid" 2>/dev/null || true
    wait "$tpm_pid" 2>/dev/null || true
  fi
  # tpm2-tss expects swtpm's control channel on the port behind the command channel's.
  "${at_endpoint[@]}" swtpm socket --tpm2 --tpmstate "dir=$run/tpm" \
    --server "type=tcp,port=$tpm_port,bindaddr=127.0.0.1" --ctrl "type=tcp,port=$((tpm_port + 1)),bindaddr=127.0.0.1" \
    --flags not-need-init >"$run/swtpm.log" 2>&1 &
  tpm_pid=$!
  started+=("$tpm_pid")
  await "$tpm_pid" tpm_listens || fail "swtpm didn't start: $(cat "$run/swtpm.log")"
  "${at_endpoint[@]}" "$bin/gatehouse-tpm-extend" --tcti "$tcti" --startup-locality 3 --eventlog "$eventlog" --ima "$1"
}
tpm_listens() { "${at_endpoint[@]}" bash -c "exec 9<>/dev/tcp/127.0.0.1/$((tpm_port + 1))"; }

make_certificates() {  # what the server's names
  (
    cd "$run/tls"
    openssl ecparam -name prime256v1 -genkey -noout -out ca.key
    openssl req -x509 -new -key ca.key -subj "/O=Gatehouse demo/CN=demo CA" -days 30 -out ca.pem
    for name in server endpoint vpn; do
      openssl ecparam -name prime256v1 -genkey -noout -out $name.key
      openssl req -new -key $name.key -subj "/O=Gatehouse demo/CN=$name.demo" -out $name.csr
    done
    printf 'subjectAltName=%s\nextendedKeyUsage=serverAuth\nbasicConstraints=CA:false\n' "$1" >server.ext
    printf 'subjectAltName=DNS:endpoint.demo\nextendedKeyUsage=clientAuth\nbasicConstraints=CA:false\n' >endpoint.ext
    printf 'subjectAltName=DNS:vpn.example.org\nextendedKeyUsage=serverAuth\nbasicConstraints=CA:false\n' >vpn.ext
    for name in server endpoint vpn; do
      openssl x509 -req -in $name.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 30 -extfile $name.ext -out $name.pem
    done
  ) >"$run/tls/openssl.log" 2>&1 || fail "openssl: $(tail -n 2 "$run/tls/openssl.log")"
}

judge_counts() {  # COUNTS: a list of [N, files that differ] in JSON: verdict-N.json says what was done
  python3 - "$run" "$victim" "$listed" "$1" <<'PY' || fail "the verdicts don't say what was done"
import json, sys
run, victim, listed, counts = sys.argv[1], sys.argv[2], int(sys.argv[3]), json.loads(sys.argv[4])
for n, differ in counts:
    v = json.load(open(f"{run}/verdict-{n}.json"))
    ima = v["ima"]
    want = {"processed": listed, "ok": listed - 2 - differ, "unknown": 2, "differ": differ, "failed": 0}
    got = {k: ima[k] for k in want}
    if got != want:
        sys.exit(f"verdict-{n}.json: expected {want}, got {got}")
    if v["quote"]["status"] != "ok":
        sys.exit(f"verdict-{n}.json: the quote is {v['quote']['status']}")
    if not differ:
        continue
    finding = [f for f in v["findings"] if f["status"] == "differ"]
    if len(finding) != 1 or finding[0]["path"] != victim or not finding[0]["package"]:
        sys.exit(f"verdict-{n}.json doesn't name {victim}")
    f = finding[0]
    print(f"\nThe changed file is named: {f['path']} of {f['package']} {f['version']}")
    print(f"   template hash that came: {f['measured']}")
    print(f"   references:              {', '.join(f['expected']) if isinstance(f['expected'], list) else f['expected']}")
PY
}

# Each entry of verdict-N.json that isn't ok: what the references say of it, which must be what the verdict says.
explain_entries() {  # REFDB PRODUCT N
  local status path measured text count=0
  while IFS=$'\t' read -r status path measured; do
    text=$("$bin/gatehouse" refdb explain --refdb "$1" --product "$2" "$path" "$measured") || fail "no explanation of $path"
    [ "${text%%:*}" = "$status" ] || fail "$path is $status in verdict-$3.json, and explained as: $text"
    printf '   %s\n' "$path" && sed 's/^/      /' <<<"$text"
    count=$((count + 1))
  done < <(python3 - "$run/verdict-$3.json" <<'PY'
import json, sys
for f in json.load(open(sys.argv[1]))["findings"]:
    if f.get("path") and f["status"] != "ok" and f.get("measured"):
        measured = f["measured"]  # template hash and content's digest, where the endpoint told both
        print(f["status"], f["path"], measured["template"] if isinstance(measured, dict) else measured, sep="\t")
PY
  )
  local wanted
  wanted=$(($(field "$run/verdict-$3.json" ima.unknown) + $(field "$run/verdict-$3.json" ima.differ)))
  [ $count -eq "$wanted" ] || fail "$count of $wanted entries of verdict-$3.json that aren't ok are explained"
}
