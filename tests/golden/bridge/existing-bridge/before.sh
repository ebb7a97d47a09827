ip link add lan up type bridge
ip address add 10.1.0.1/24 dev lan
