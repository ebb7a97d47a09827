ip link set br-front down
ip -n web route del default
nft flush table inet cnm
sysctl -qw net.ipv4.ip_forward=0
