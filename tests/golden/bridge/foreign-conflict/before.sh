ip link add br-front type bridge
ip link set br-front mtu 9000
