ip link add uplink mtu 9000 up type veth peer name port
