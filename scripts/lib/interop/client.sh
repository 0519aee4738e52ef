# Sourced by scripts/interop.sh: gatehouse serve, and conversations of strongSwan's client with it.
# shellcheck shell=bash disable=SC2034,SC2154
printf '%s\n' "$secret" >"$work/password"
for user in host1 carol; do
  quietly gatehouse.log "$bin/gatehouse" user add $user --users "$work/users.db" --password-file "$work/password"
done
"${data[@]}" references "$evidence/base/refs.tsv" "$work/references"
quietly gatehouse.log "$bin/gatehouse" refdb ingest --refdb "$work/refdb" --product "$product" --hash sha256 \
  "sha256sums:$work/references"
server_pid=''
# serve NAME [WORD…]: a server with a state of its own. Words: bank=, certificate= (its name below tls/), groups= (of
# the nonce exchange, a TOML list); policy: by policy.toml, which ask() writes; test: with the Test IMV.
serve() {
  local name=$1 bank=sha256 certificate=server groups='' policy='' test=''
  shift
  while [ $# -gt 0 ]; do
    case $1 in
      bank=*|certificate=*|groups=*) local "$1";;
      policy) policy=1;;
      test) test=1;;
    esac
    shift
  done
  mkdir -m 700 "$work/state-$name"
  server_log=$logs/gatehouse-$name.log
  cat >"$work/gatehouse.toml" <<TOML
[pt_tls]
listen = ["127.0.0.1:271"]
certificate = "tls/$certificate.pem"
key = "tls/$certificate.key"
client_ca = "tls/ca.pem"
users = "users.db"
[refdb]
path = "refdb"
[state]
path = "state-$name"
[attestation]
banks = ["$bank"]
ak_ca = "tls/ak-ca.pem"
TOML
  {
    [ -z "$groups" ] || echo "dh_groups = $groups"
    [ -z "$policy" ] || printf '[policy]\nfile = "policy.toml"\n'
    [ -z "$test" ] || printf '[imv]\ntest = true\n'
  } >>"$work/gatehouse.toml"
  "$bin/gatehouse" serve --config "$work/gatehouse.toml" 2>"$server_log" &
  server_pid=$!
  await "$server_pid" listening 271 || environment "gatehouse serve didn't start: $server_log"
}
# ask ENTRIES: from now on policy.toml asks every device for this, a TOML list; a server that runs reads it again.
ask() {
  local before
  printf '[policy]\n[groups.all]\nask = %s\n' "$1" >"$work/policy.toml"
  [ -n "$server_pid" ] || return 0
  before=$(reloads)
  kill -HUP "$server_pid"
  await "$server_pid" reloaded "$before" || environment "gatehouse serve didn't read its policy again: $server_log"
}
reloads() { grep -c 'SIGHUP: ' "$server_log" || true; }
reloaded() { [ "$(reloads)" -gt "$1" ] && ! grep -q 'reload failed' "$server_log"; }
stop_serving() {
  local code=0
  kill "$server_pid"
  wait "$server_pid" || code=$?
  server_pid=''
  judge "gatehouse serve ends with exit code 0" "$([ $code -eq 0 ] || echo "exit code $code")"
}
gatehouse() { quietly gatehouse.log "$bin/gatehouse" "$@" --config "$work/gatehouse.toml"; }
recorded() { "$bin/gatehouse" session list --last 100 --json --config "$work/gatehouse.toml"; }

client_configuration() {  # TLS version, AK, its certificate or "", batch size, [setting…]
  local id=${2}_id handle=${2}_handle plugins=(tpm.tcti.name=mssim tpm.tcti.opts=host=127.0.0.1,port=2321) others=()
  local setting
  plugins+=("imc-os.device_id=${!id}" "imc-attestation.aik_handle=${!handle}" ${3:+"imc-attestation.aik_cert=$3"})
  plugins+=("tnccs-20.max_batch_size=$4" "tnccs-20.max_message_size=$(($4 - 32))")
  for setting in "${@:5}"; do
    case ${setting%%=*} in
      libtls.*|libimcv.*|sw-collector.*|pt-tls-client.*) others+=("$setting");;
      *) plugins+=("$setting");;
    esac
  done
  "${data[@]}" configuration "libtls.version_max=$1" "libtnccs.tnc_config=$work/tnc_client" \
    "${plugins[@]/#/pt-tls-client.plugins.}" "${others[@]}"
}
for collector_name in os swima attestation scanner test; do
  path=imc_$collector_name
  printf 'IMC "%s" %s\n' "$collector_name" "${!path}"
done >"$work/tnc_client"

# peer_client NAME EXPECTED [WORD…]: a conversation, and the verdict on it; of several assessments, on the last.
# EXPECTED: allow, isolate, block, closed (ended by an error, which is recorded) or refused (no session at all). Words:
# tls=, auth=, user=, ak=, ak_certificate=, batch=; sessions=N: so many assessments; during=COMMAND: called with process
# id and log of the client while it runs, which it has to end; --want EXPECTATION: of the verdict object, besides;
# --first EXPECTATION: of the one before it; --log TEXT, --not TEXT: of the client's log; --server-log TEXT; --set
# SETTING: of its plug-ins; others are the client's own options. What follows from allow: allowed, expectations.
conversations=0
allowed=()
peer_client() {
  local name=$1 expected=$2 tls=1.2 auth=password user=host1 ak=rsa ak_certificate='' batch=65522 sessions='' during=''
  local settings=() options=() wants=() first=() texts=() absent=() server_texts=()
  shift 2
  while [ $# -gt 0 ]; do
    case $1 in
      tls=*|auth=*|user=*|ak=*|ak_certificate=*|batch=*|sessions=*|during=*) local "$1";;
      --want) wants+=("$2"); shift;;
      --first) first+=("$2"); shift;;
      --log) texts+=("$2"); shift;;
      --not) absent+=("$2"); shift;;
      --server-log) server_texts+=("$2"); shift;;
      --set) settings+=("$2"); shift;;
      *) options+=("$1");;
    esac
    shift
  done
  conversations=$((conversations + 1))
  local log own_log complaints before after start client_pid
  log=$logs/$(printf 'client-%02d.log' $conversations) own_log=$logs/$(printf 'gatehouse-%02d.log' $conversations)
  client_configuration "$tls" "$ak" "$ak_certificate" "$batch" "${settings[@]}" >"$work/client.conf"
  case $auth in
    password) options+=(--client "$user" --secret "$secret");;
    wrong-password) options+=(--client "$user" --secret "not $secret");;
    ecdsa|rsa)
      options+=(--cert "$work/tls/endpoint-$auth.pem" --key "$work/tls/endpoint-$auth.key" --key-type "$auth");;
  esac
  before=$(recorded | wc -l) start=$(wc -l <"$server_log")
  STRONGSWAN_CONF=$work/client.conf LD_LIBRARY_PATH=$work/tcti timeout 240 "$client" --connect localhost --port 271 \
    --cert "$work/tls/ca.pem" "${options[@]}" --debug 2 >"$log" 2>&1 &
  client_pid=$!
  [ -z "$during" ] || "$during" "$client_pid" "$log" || true
  wait "$client_pid" || true  # 1 also after allow
  recorded >"$work/sessions.json"
  after=$(($(wc -l <"$work/sessions.json") - before))
  tail -n "+$((start + 1))" "$server_log" >"$own_log"
  complaints=$(
    if [ "$expected" = refused ]; then
      [ $after -eq 0 ] || echo "a session was recorded"
      has "$log" 'access recommendation is'
    elif [ $after -eq 0 ]; then
      echo "no session was recorded"
    else
      [ -z "$sessions" ] || [ $after -eq "$sessions" ] || echo "$after sessions were recorded, expected $sessions"
      case $expected in
        allow) wants+=(recommendation=allow "${allowed[@]}");;
        closed) wants+=(recommendation!=allow evaluation=error);;
        *) wants+=("recommendation=$expected");;
      esac
      "${data[@]}" session "$work/sessions.json" 1 "${wants[@]}" || true
      [ ${#first[@]} -eq 0 ] || "${data[@]}" session "$work/sessions.json" 2 "${first[@]}" || true
      case $expected in
        allow)
          lacks "$log" "PB-TNC assessment result is 'compliant'" "PB-TNC access recommendation is 'Access Allowed'";;
        isolate) lacks "$log" "PB-TNC access recommendation is 'Quarantined'";;
        block) lacks "$log" "PB-TNC access recommendation is 'Access Denied'";;
        closed) has "$log" 'access recommendation is';;
      esac
    fi
    lacks "$log" "${texts[@]}"
    has "$log" "${absent[@]}"
    lacks "$own_log" "${server_texts[@]}"
  )
  judge "pt-tls-client to gatehouse serve: $name: $expected" "$complaints"
}
