# Sourced by scripts/interop.sh: strongSwan's policy decision point, and conversations of gatehouse-endpoint with it.
# shellcheck shell=bash disable=SC2034,SC2154
mkdir -p "$work/swanctl"/{x509,x509ca,private,rsa,ecdsa,pkcs8} "$work/ak-ca"
cp "$work/tls/server.pem" "$work/swanctl/x509/"
cp "$work/tls/ca.pem" "$work/swanctl/x509ca/"
cp "$work/tls/server.key" "$work/swanctl/private/"
cp "$work/tls/ak-ca.pem" "$work/ak-ca/"
printf 'secrets {\n  eap-host1 {\n    id = host1\n    secret = "%s"\n  }\n}\n' "$secret" >"$work/swanctl/swanctl.conf"
pdp_database() {  # evidence folder: what the server knows from now on is its references and the two AKs
  rm -f "$work/policy.db"
  "${data[@]}" database "$(dirname "$schema")" "$evidence/$1/refs.tsv" "$work/policy.db" "$rsa_id" "$ecc_id"
}
pdp_asks() { "${data[@]}" ask "$work/policy.db" "$@"; }  # TYPE[=ARGUMENT]…, in place of TPMRA=BI
for validator in os swima attestation scanner test; do
  path=imv_$validator
  printf 'IMV "%s" %s\n' "$validator" "${!path}"
done >"$work/tnc_test"  # where the Test collector decides
grep -v '"test"' "$work/tnc_test" >"$work/tnc_server"
pdp_pid=''
stop_pdp() {
  [ -n "$pdp_pid" ] || return 0
  kill "$pdp_pid" 2>/dev/null || true
  wait "$pdp_pid" || true
  pdp_pid=''
}
start_pdp() {  # TLS version, measurement algorithm, [setting…]: of charon, or libimcv.…
  stop_pdp
  local plugins=(random nonce x509 constraints pubkey pkcs1 pkcs8 pem openssl sqlite kernel-netlink socket-default)
  plugins+=(tnc-imv tnc-tnccs tnccs-20 tnc-pdp vici)
  local settings=("load=${plugins[*]}"
    "filelog.pdp.path=$logs/pdp.log" filelog.pdp.flush_line=yes filelog.pdp.default=1
    filelog.pdp.tnc=2 filelog.pdp.imv=2 filelog.pdp.pts=2
    "plugins.vici.socket=unix://$work/charon.vici" plugins.tnc-pdp.server=localhost plugins.tnc-pdp.radius.enable=no
    "plugins.tnc-pdp.pt_tls.port=$pdp_port" "tnc.tnc_config=$work/tnc_server")
  local setting others=()
  for setting in "${@:3}"; do
    case $setting in libimcv.*) others+=("$setting");; *) settings+=("$setting");; esac
  done
  settings=("${settings[@]/#/charon.}" "libtls.version_max=$1" "libimcv.database=sqlite://$work/policy.db"
    "libimcv.policy_script=$policy_manager" "libimcv.plugins.imv-attestation.cadir=$work/ak-ca"
    "libimcv.plugins.imv-attestation.hash_algorithm=$2" libimcv.plugins.imv-attestation.dh_group=ecp384)
  "${data[@]}" configuration "${settings[@]}" "${others[@]}" >"$work/charon.conf"
  STRONGSWAN_CONF=$work/charon.conf "$charon" >>"$logs/charon.log" 2>&1 &
  pdp_pid=$!
  await "$pdp_pid" test -S "$work/charon.vici" || environment "charon didn't start: $logs/charon.log"
  await "$pdp_pid" listening "$pdp_port" || environment "charon doesn't listen for PT-TLS: $logs/pdp.log"
  STRONGSWAN_CONF=$work/charon.conf SWANCTL_DIR=$work/swanctl quietly charon.log \
    "$swanctl" --load-creds --uri "unix://$work/charon.vici"
}

# pdp NAME EXPECTED [WORD…]: a conversation, and the verdict on it. EXPECTED: allow, isolate, refused or failed (by a
# fault of the server's). Words: auth=, ak=; --log TEXT, --not TEXT: of the server's log; --own-log TEXT: of our
# endpoint's, with what it prints; others are gatehouse-endpoint's own options. What follows from allow: allowed_by_pdp,
# texts of the server's log.
allowed_by_pdp=()
pdp() {
  local name=$1 expected=$2 auth=password ak=rsa options=() texts=() absent=() own_texts=()
  shift 2
  while [ $# -gt 0 ]; do
    case $1 in
      auth=*|ak=*) local "$1";;
      --log) texts+=("$2"); shift;;
      --not) absent+=("$2"); shift;;
      --own-log) own_texts+=("$2"); shift;;
      *) options+=("$1");;
    esac
    shift
  done
  conversations=$((conversations + 1))
  local log pdp_log handle=${ak}_handle code=0 complaints start
  log=$logs/$(printf 'endpoint-%02d.log' $conversations) pdp_log=$logs/$(printf 'pdp-%02d.log' $conversations)
  case $auth in
    password) options+=(--user host1 --password-file "$work/password");;
    wrong-password) options+=(--user host1 --password-file "$work/tls/server.ext");;
    ecdsa|rsa) options+=(--certificate "$work/tls/endpoint-$auth.pem" --key "$work/tls/endpoint-$auth.key");;
  esac
  start=$(wc -l <"$logs/pdp.log")
  "$bin/gatehouse-endpoint" attest --server "localhost:$pdp_port" --ca "$work/tls/ca.pem" --tcti "$tcti" \
    --ak "${!handle}" --inventory "$work/inventory-$ak" "${options[@]}" --json >"$work/endpoint.json" 2>"$log" || code=$?
  cat "$work/endpoint.json" >>"$log"
  # The server's last words on a conversation come after our end of it.
  await "$pdp_pid" ended "$start" || true
  tail -n "+$((start + 1))" "$logs/pdp.log" >"$pdp_log"
  complaints=$(
    ends_with() { [ $code -eq "$1" ] || echo "gatehouse-endpoint's exit code is $code: $(tail -n 1 "$log")"; }
    case $expected in
      allow)
        ends_with 0
        lacks "$pdp_log" "final recommendation is 'allow' and evaluation is 'compliant'" "${allowed_by_pdp[@]}";;
      isolate)
        ends_with 1
        lacks "$pdp_log" "final recommendation is 'isolate'";;
      refused)
        ends_with 4
        has "$pdp_log" 'final recommendation is';;
      failed) ends_with 3;;
    esac
    lacks "$pdp_log" "${texts[@]}"
    has "$pdp_log" "${absent[@]}"
    lacks "$log" "${own_texts[@]}"
  )
  judge "gatehouse-endpoint to charon: $name: $expected" "$complaints"
}
ended() { tail -n "+$(($1 + 1))" "$logs/pdp.log" | grep -qE 'removed TNCCS Connection ID|TLS close notify'; }
