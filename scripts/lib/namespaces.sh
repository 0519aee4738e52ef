# Sourced by scripts that hold conversations in namespaces of their own, where every port is free, nothing listens outside and
# nothing stays behind.
# shellcheck shell=bash

# in_namespaces FOLDER COMMAND…: runs it as root in mount, network and process namespaces. Everything that it starts ends with
# it, and with us. FOLDER, for one file, is ours. Its exit code; 4: this machine or user can't make namespaces.
namespaces=(unshare --mount --net --pid --fork --kill-child --mount-proc)
inside_pid=''
in_namespaces() {
  local folder=$1 as_root=(sudo) code=0
  shift
  [ "$(id -u)" -ne 0 ] || as_root=()
  "${as_root[@]}" "${namespaces[@]}" true ||
    { echo "${0##*/}: needs root, and a kernel that grants mount, network and process namespaces" >&2; return 4; }
  rm -f "$folder/lifeline"
  mkfifo "$folder/lifeline"
  exec 7<>"$folder/lifeline"
  "${as_root[@]}" env "GATEHOUSE_LIFELINE=$folder/lifeline" "${namespaces[@]}" "$@" 7>&- &
  inside_pid=$!
  wait "$inside_pid" || code=$?
  leave_namespaces
  return $code
}
leave_namespaces() {  # for an EXIT trap, too
  [ -n "$inside_pid" ] || return 0
  exec 7>&-  # which ends everything inside
  wait "$inside_pid" || true
  inside_pid=''
}

# Inside: we are process 1 of these namespaces. When we end, all else does, and we end when the process outside does.
bound_to_outside() {
  # Elsewhere this would end the machine's processes.
  [ $$ -eq 1 ] || { echo "${0##*/} runs in namespaces that another script makes" >&2; exit 2; }
  trap 'exit 130' INT TERM HUP
  (read -r _ <"$GATEHOUSE_LIFELINE" || true; kill -TERM 1; kill -KILL -- -1) &
  mount -t tmpfs none /run
}

# --- hosts, which are network namespaces inside ours, and wires between them ----------------------------------------
host() {  # NAME…
  local name
  for name in "$@"; do
    ip netns add "$name"
    on "$name" ip link set lo up
  done
}
# The machine stays the same but for its network, so /sys and /etc are as they are. What runs in the background and is to be
# ended needs the process itself: nsenter "$(net NAME)" COMMAND… &
on() { nsenter "$(net "$1")" "${@:2}"; }  # NAME COMMAND…
net() { echo "--net=/run/netns/$1"; }
# wire NAME PORT ADDRESS NAME PORT ADDRESS: a cable; ADDRESS with its prefix length, or "" for none.
wire() {
  ip link add "wire$$" type veth peer name "wire$$b"
  plug "wire$$" "$1" "$2" "$3"
  plug "wire$$b" "$4" "$5" "$6"
}
plug() {
  ip link set "$1" netns "$2" name "$3"
  [ -z "$4" ] || on "$2" ip address add "$4" dev "$3"
  on "$2" ip link set "$3" up
}
# reaches NAME ADDRESS: whether a packet gets there and its answer back.
reaches() { on "$1" ping -q -n -c 2 -i 0.2 -W 1 "$2" >/dev/null 2>&1; }
