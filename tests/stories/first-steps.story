From three documents to two sandboxes that talk, and back.

  $ cat >net.yaml <<'END'
  > apiVersion: cnm/v1alpha1
  > kind: Network
  > metadata: {name: web}
  > spec: {subnets: [{cidr: 10.77.0.0/24}]}
  > ---
  > apiVersion: cnm/v1alpha1
  > kind: Sandbox
  > metadata: {name: shop}
  > ---
  > apiVersion: cnm/v1alpha1
  > kind: Endpoint
  > metadata: {name: shop}
  > spec: {network: web, sandbox: shop, addresses: [10.77.0.10]}
  > END
  $ cnm validate net.yaml
  valid: 1 network, 1 sandbox on rack1, 1 endpoint

What has to change? Exit status 2 says that something has.

  $ cnm plan net.yaml
  Network/web  net.yaml:1
      + link/br-web
      + nft-chain/inet/cnm/forward
      + nft-chain/inet/cnm/from-web
      + nft-chain/inet/cnm/postrouting
      + nft-chain/inet/cnm/to-web
      + nft-chain/inet/cnm/user
      ~ sysctl/net/ipv4/ip_forward
          value: 0 -> 1
      + ... and 14 more (-v shows them)
  Sandbox/shop  net.yaml:6
      + netns/shop
  Endpoint/web/shop  net.yaml:10
      + nft-element/bridge/cnm/addresses4/ve-q4rxty2kg7 . 10.77.0.10
      + nft-element/bridge/cnm/macs/ve-q4rxty2kg7 . 02:87:23:79:e3:4a
      + nft-element/bridge/cnm/ports/ve-q4rxty2kg7
      + link/ve-q4rxty2kg7
      + link/@shop/eth0
      + sysctl/@shop/net/ipv6/conf/eth0/disable_ipv6
      + ... and 2 more (-v shows them)
  guard
      + nft-chain/bridge/cnm/closed-forward
      + nft-chain/bridge/cnm/closed-output
      + nft-chain/bridge/cnm/prerouting
      + nft-set/bridge/cnm/addresses4
      + nft-set/bridge/cnm/addresses6
      + nft-set/bridge/cnm/closed
      + ... and 5 more (-v shows them)
  Plan: 40 to create, 1 to change in place.
  [2]

Without a terminal nobody can answer, so nothing is done: status 1, not a hang.

  $ cnm apply -q net.yaml
  error: there is no terminal to ask on; say --yes to apply, or --dry-run to look only
  [1]
  $ ip -br link show type bridge
  $ cnm apply --dry-run -q net.yaml
  [2]
  $ cnm apply --yes -q net.yaml
  $ ip -br link show br-web type bridge | cut -d' ' -f1
  br-web
  $ cnm plan net.yaml
  No changes. The host is as the manifests say.
  $ cnm apply --yes net.yaml
  No changes. The host is as the manifests say.
  $ cnm diff net.yaml
  $ cnm status net.yaml
  KIND      NAME      STATE  FACTS
  Network   web       ok     driver bridge  subnets 10.77.0.0/24  endpoints 1
  Sandbox   shop      ok     stack netns
  Endpoint  web/shop  ok     sandbox shop  interface eth0  addresses 10.77.0.10/24  gateway 10.77.0.1
  In sync: 3 of 3 hold on rack1 (owner cnm).

A look inside, and at what is ours.

  $ cnm exec shop -- ip -br -4 address show dev eth0 | tr -s ' ' | cut -d' ' -f2-
  UP 10.77.0.10/24
  $ cnm exec shop -- false
  [1]
  $ cnm exec shop -- no-such-command
  error: no-such-command: there is no such command
  [127]
  $ cnm exec store -- true
  error: the namespace of sandbox store is not there; `cnm status` says why
  [1]
  $ cnm exec store -m net.yaml -- true
  error: there is no sandbox store on this node; the manifests have: shop
  [1]
  $ cnm show | grep -v nft- | cut -d' ' -f1-3
  address/br-web/10.77.0.1/24  [cnm]
  address/@shop/eth0/10.77.0.10/24  [cnm]
  link/br-web  [cnm]
  link/ve-q4rxty2kg7  [cnm]
  link/@shop/eth0  [cnm]
  netns/shop  [cnm]
  route/@shop/0.0.0.0/0  [cnm]
  sysctl/net/ipv4/ip_forward  [cnm]
  sysctl/net/ipv6/conf/br-web/disable_ipv6  [cnm]
  sysctl/@shop/net/ipv6/conf/eth0/disable_ipv6  [cnm]
  $ cnm explain route/@shop/0.0.0.0/0 net.yaml
  route/@shop/0.0.0.0/0: ok
    asked for by Endpoint/web/shop (net.yaml:10:1), rendered by driver bridge
    on this host: owner cnm
      to: 0.0.0.0/0
      metric: 0
      table: 254
      type: unicast
      dev: eth0
      via: 10.77.0.1
      src: ""
      onlink: false
    stands on link/@shop/eth0
  $ cnm explain link/br-web net.yaml
  link/br-web: ok
    asked for by Network/web (net.yaml:1:1), rendered by driver bridge
    on this host: owner cnm
      type: bridge
      up: true
      mtu: 1500
      mac: 02:1a:7d:ca:af:a5
      addr_gen: none
      master: ""
      txqlen: 1000
      info: {stp: false, priority: 32768, forward_delay: 1500, hello_time: 200, max_age: 2000, ageing_time: 30000, group_fwd_mask: 0, mcast_snooping: true, mcast_querier: false, vlan_filtering: false, nf_call_iptables: false, nf_call_ip6tables: false}
    is needed by address/br-web/10.77.0.1/24
    is needed by link/ve-q4rxty2kg7
    is needed by sysctl/net/ipv6/conf/br-web/disable_ipv6
  $ cnm explain link/br-none net.yaml
  error: neither the manifests nor this host know link/br-none; `cnm show` lists what is ours
  [1]
  $ cnm explain br-web net.yaml
  error: not a resource key: 'br-web' (write kind/name or kind/@sandbox/name)
  [1]
  $ cnm graph net.yaml
  flowchart LR
    n_web[["web<br>bridge<br>10.77.0.0/24"]]
    s_shop("shop")
    s_shop ---|"eth0 10.77.0.10"| n_web

One field changes, and one thing on the host with it.

  $ sed -i 's/{subnets/{mtu: 1400, subnets/' net.yaml
  $ cnm diff net.yaml
  ~   link/br-web
        mtu: 1500 -> 1400
  ~   link/@shop/eth0
        mtu: 1500 -> 1400
  ~   link/ve-q4rxty2kg7
        mtu: 1500 -> 1400
  [2]
  $ cnm apply --yes net.yaml
  Network/web  net.yaml:1
      ~ link/br-web
          mtu: 1500 -> 1400
  Endpoint/web/shop  net.yaml:10
      ~ link/@shop/eth0
          mtu: 1500 -> 1400
      ~ link/ve-q4rxty2kg7
          mtu: 1500 -> 1400
  Plan: 3 to change in place.
  Done: 3 steps in {seconds} s, verified.
  $ cnm exec shop -- cat /sys/class/net/eth0/mtu
  1400

And all of it goes. No manifests are needed for that.

  $ cnm destroy -q
  error: there is no terminal to ask on; say --yes to apply, or --dry-run to look only
  [1]
  $ cnm destroy --yes
  to be destroyed
      - link/ve-q4rxty2kg7  [outage]
          takes along 4 more
      - link/br-web  [outage]
          takes along 2 more
      - netns/shop
      - nft-chain/bridge/cnm/closed-forward
      - nft-chain/bridge/cnm/closed-output
      - nft-chain/bridge/cnm/prerouting
      - sysctl/net/ipv4/ip_forward
          value: 1 -> 0
      - ... and 28 more (-v shows them)
  Plan: 35 to delete, 6 going along.
  Done: 35 steps in {seconds} s, verified.
  $ cnm destroy --yes
  There is nothing of owner cnm to remove on this host.
  $ ip -br link
  lo               UNKNOWN        00:00:00:00:00:00 <LOOPBACK,UP,LOWER_UP>
  $ nft list ruleset
  $ ls /run/cnm
  ls: cannot access '/run/cnm': No such file or directory
  [2]
