Somebody changes the host by hand.

  $ cp -r "$QUICKSTART" net
  $ cnm apply --yes -q net
  $ cnm status -q net
  $ ip -n web route delete default
  $ ip link set br-back down
  $ ip link delete $(ip -br link show master br-front | head -n1 | cut -d@ -f1)
  $ cnm status net
  KIND      NAME         STATE    FACTS
  Network   back         drifted  driver bridge  subnets 10.77.2.0/24, fd77:0:0:2::/64  endpoints 3
  Network   front        ok       driver bridge  subnets 10.77.1.0/24, fd77:0:0:1::/64  endpoints 2
  Sandbox   api          ok       stack netns
  Sandbox   db           ok       stack netns
  Sandbox   proxy        ok       stack netns
  Sandbox   web          ok       stack netns
  Endpoint  back/api     ok       sandbox api  interface eth0  addresses 10.77.2.2/24, fd77:0:0:2::2/64  gateway 10.77.2.1, fd77:0:0:2::1
  Endpoint  back/db      ok       sandbox db  interface eth0  addresses 10.77.2.53/24, fd77:0:0:2::53/64  gateway 10.77.2.1, fd77:0:0:2::1
  Endpoint  back/proxy   ok       sandbox proxy  interface eth0  addresses 10.77.2.3/24, fd77:0:0:2::3/64
  Endpoint  front/proxy  drifted  sandbox proxy  interface eth1  addresses 10.77.1.2/24, fd77:0:0:1::2/64  gateway 10.77.1.1, fd77:0:0:1::1
  Endpoint  front/web    drifted  sandbox web  interface eth0  addresses 10.77.1.3/24, fd77:0:0:1::3/64  gateway 10.77.1.1, fd77:0:0:1::1
  Network back: link/br-back differs: up: false -> true
  Network back: address/br-back/fd77:0:0:2::1/64 is missing
  Network back: address/br-back/fe80::1/64 is missing
  Endpoint front/proxy: link/ve-hqffazmu6g is missing
  Endpoint front/proxy: link/@proxy/eth1 is missing
  Endpoint front/proxy: address/@proxy/eth1/10.77.1.2/24 is missing
  Endpoint front/proxy: address/@proxy/eth1/fd77:0:0:1::2/64 is missing
  Endpoint front/proxy: ... and 3 more (-v shows them)
  Endpoint front/web: route/@web/0.0.0.0/0 is missing
  Not in sync: 8 of 11 hold on rack1 (owner cnm).
  [2]
  $ cnm plan net
  Network/back  networks.yaml:13
      ~ link/br-back
          up: false -> true
      + address/br-back/fd77:0:0:2::1/64
      + address/br-back/fe80::1/64
  Endpoint/front/proxy  endpoints.yaml:9
      + link/ve-hqffazmu6g
      + link/@proxy/eth1
      + address/@proxy/eth1/10.77.1.2/24
      + address/@proxy/eth1/fd77:0:0:1::2/64
      + address/@proxy/eth1/fe80::3c:aff:fe50:6594/64
      + route/@proxy/0.0.0.0/0
      + ... and 1 more (-v shows them)
  Endpoint/front/web  endpoints.yaml:3
      + route/@web/0.0.0.0/0
  Reach  2 pairs gain
      + front/proxy -> front/web: gains all
      + front/web -> front/proxy: gains all
  Plan: 10 to create, 1 to change in place.
  [2]
  $ cnm explain link/br-back net | grep '!'
    ! up: false  (wanted: true)
  $ cnm apply --yes -q net
  $ cnm status -q net

Something of ours that nobody asks for any more is shown as well.

  $ sed -i '/^# proxy/,$d' net/endpoints.yaml
  $ cnm status net | grep -c surplus
  36
  $ cnm plan net | tail -n1
  Plan: 36 to delete, 22 going along.
  $ cnm apply --yes -q net
  $ cnm status net | tail -n1
  In sync: 7 of 7 hold on rack1 (owner cnm).
  $ cnm destroy --yes -q
