ip link add uplink type veth peer name switch
ip link set switch addrgenmode none up
ip link set uplink addrgenmode none up
until ip link show uplink | grep -q "state UP"; do sleep 0.05; done
