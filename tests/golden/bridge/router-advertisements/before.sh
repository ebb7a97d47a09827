ip link add uplink address 02:00:00:00:00:aa type veth peer name far
ip link set far up
ip link set uplink up
ip -6 route add default via fe80::1 dev uplink proto ra
