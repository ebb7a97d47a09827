# A simulated NIC. It outlives the namespace that it was made in, and process numbers repeat: so its number is a random one.
number=$(od -An -N3 -tu4 /dev/urandom | tr -d ' ')
echo "$number 1" > /sys/bus/netdevsim/new_device
ip link set "$(ip -d -o link | grep "parentdev netdevsim$number " | cut -d: -f2 | tr -d ' ')" name enp1s0
