ip link add uplink mtu 1400 up type veth peer name port
