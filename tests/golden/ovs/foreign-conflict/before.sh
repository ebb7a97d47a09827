ovs-vsctl add-br br-lan -- set bridge br-lan datapath_type=netdev
