# Sourced by scripts that hold conversations with other software: what is run beside, and how it is judged. `logs` is a folder.
# shellcheck shell=bash disable=SC2034,SC2154
environment() { echo "interop: $*" >&2; exit 4; }
quietly() {  # LOG COMMAND...
  local log=$logs/$1
  shift
  "$@" >>"$log" 2>&1 || { tail -n 5 "$log" >&2; environment "$1 failed: $log"; }
}
passed=0 failed=0
scenario=''  # "scenario 12 (tnccs-20-os): " before the names of its conversations
judge() {  # NAME, complaints (none: passed)
  if [ -z "$2" ]; then
    passed=$((passed + 1))
    echo "PASS  $scenario$1"
  else
    failed=$((failed + 1))
    echo "FAIL  $scenario$1"
    printf '%s\n' "$2" | sed 's/^/        /'
  fi
}
lacks() {  # LOG, TEXT...: a complaint for each text that the log doesn't have
  local log=$1 text
  shift
  for text in "$@"; do grep -qF -- "$text" "$log" || echo "${log#"$root"/} lacks: $text"; done
}
has() {  # LOG, TEXT...: a complaint for each text that the log has
  local log=$1 text
  shift
  for text in "$@"; do ! grep -qF -- "$text" "$log" || echo "${log#"$root"/} has: $text"; done
}
