ip -n a link set eth0 type macvlan mode bridge
ip -n b link delete eth0
