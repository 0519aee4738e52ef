#!/bin/sh
# Puts a port into a VLAN and takes it out again, by what hostapd says of the station behind it; each VLAN is a bridge of its
# own here, vlan10 and vlan66:
#   hostapd_cli -i port1 -a switch-port.sh
port=$1 event=$2 station=$3
case $event in
  AP-STA-CONNECTED)
    vlan=$(hostapd_cli -i "$port" sta "$station" | sed -n 's/^vlan_id=//p')
    if [ -n "$vlan" ]; then ip link set "$port" master "vlan$vlan"; else ip link set "$port" nomaster; fi
    ;;
  AP-STA-DISCONNECTED) ip link set "$port" nomaster ;;
esac
