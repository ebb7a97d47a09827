# host1 in its rack.
ip link add up0 type veth peer name switch
ip link set switch addrgenmode none up
ip link set up0 addrgenmode none
sysctl -qw net.ipv6.conf.up0.accept_dad=0
ip address add 192.0.2.11/24 dev up0
ip address add 2001:db8:1::11/64 dev up0 nodad
ip link set up0 up
# The kernel tells of a carrier a moment later.
until ip -br link show up0 | grep -q " UP "; do sleep 0.05; done
