ovs-vsctl add-br lan0 -- set bridge lan0 datapath_type=netdev
