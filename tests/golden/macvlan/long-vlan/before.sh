ip link add enp0s31f6np0d1 type veth peer name port
