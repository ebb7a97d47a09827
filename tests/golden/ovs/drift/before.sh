ovs-vsctl set port $(ovs-vsctl list-ports sw0 | head -1) tag=7
ip link delete $(ovs-vsctl list-ports sw0 | tail -1)
