# A stand-in for the fabric's controller, under the name that the example has for it, with what its administrators made.
python -m tests.lab.apic /run/apic --port 443 --domain servers --contract shared-dns >/dev/null 2>&1 &
tries=0
while [ ! -e /run/apic/port ]; do
    tries=$((tries + 1))
    [ $tries -lt 500 ]
    sleep 0.02
done
mkdir -p /etc/cnm
install -m 600 /run/apic/password /etc/cnm/apic.password
cp /run/apic/ca.pem /etc/cnm/apic-ca.pem
# Made anew: as root in a user namespace one may not write into what the machine's root owns.
{ cat /etc/hosts; echo "127.0.0.1 apic1.example.com"; } > /etc/hosts.new
mv -f /etc/hosts.new /etc/hosts
