#!/usr/bin/env bash
# Conversations through gateways, run by scripts/interop.sh gateway inside namespaces: FOLDER for what ends with us, DIR of our
# programs, PREFIX of strongSwan, and the parts. Each part makes its own network.
cd "$(dirname "$0")/../../.."
. scripts/lib/packages.sh
. scripts/lib/wait.sh
. scripts/lib/namespaces.sh
work=$1 bin=$2 peer=$3
shift 3
bound_to_outside
. scripts/lib/gateway/world.sh
for part in "$@"; do
  . "scripts/lib/gateway/$part.sh"
done
echo "$passed passed, $failed failed; logs: $logs"
[ $failed -eq 0 ]
