ip -n batch link set lo down
ip netns exec batch sysctl -qw net.ipv4.ip_forward=1
