ip link add br-front address 02:00:00:00:00:bb type bridge
ip link set br-front mtu 9000
