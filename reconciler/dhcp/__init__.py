"""The DHCP client of one endpoint: busybox's udhcpc, because it keeps nothing outside its own process. dhcpcd and
dhclient have files and sockets named after the interface, of which every sandbox has an eth0; the latter has no
upstream any more."""
