ip link add uplink mtu 1400 up type veth peer name port
ip address add 10.1.0.253/24 dev uplink
