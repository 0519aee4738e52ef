# Sourced by scripts that start servers: waiting until one is ready.
# shellcheck shell=bash
await() {  # PID COMMAND...: until COMMAND succeeds; at most 20 s; fails when PID has ended
  local pid=$1 n=0
  shift
  until "$@" 2>/dev/null; do
    kill -0 "$pid" 2>/dev/null || return 1
    n=$((n + 1))
    [ $n -lt 200 ] || return 1
    read -rt 0.1 <> <(:) || true
  done
}
listening() { (exec 9<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }
