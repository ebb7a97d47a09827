ip link add uplink up type veth peer name far
ip link set far up
ip route add 10.1.0.0/16 dev uplink
