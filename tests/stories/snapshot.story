A snapshot lets others plan without this host and without any privilege: `unshare --user` takes them all away.
Needs: strace

  $ cp -r "$QUICKSTART" net
  $ cnm lock net
  net/cnm.lock: written
  $ cnm apply --yes -q net
  $ sed -i '0,/driver: bridge/s//driver: bridge\n  mtu: 1400/' net/networks.yaml
  $ cnm show --observed -o snapshot.json
  $ stat -c %a snapshot.json
  600
  $ cnm plan --json net >here.json
  [2]
  $ unshare --user cnm plan --json --observed snapshot.json net >there.json
  [2]
  $ cmp here.json there.json
  $ unshare --user cnm status --observed snapshot.json net
  KIND      NAME         STATE    FACTS
  Network   back         ok       driver bridge  subnets 10.77.2.0/24, fd77:0:0:2::/64  endpoints 3
  Network   front        drifted  driver bridge  subnets 10.77.1.0/24, fd77:0:0:1::/64  endpoints 2
  Sandbox   api          ok       stack netns
  Sandbox   db           ok       stack netns
  Sandbox   proxy        ok       stack netns
  Sandbox   web          ok       stack netns
  Endpoint  back/api     ok       sandbox api  interface eth0  addresses 10.77.2.2/24, fd77:0:0:2::2/64  gateway 10.77.2.1, fd77:0:0:2::1
  Endpoint  back/db      ok       sandbox db  interface eth0  addresses 10.77.2.53/24, fd77:0:0:2::53/64  gateway 10.77.2.1, fd77:0:0:2::1
  Endpoint  back/proxy   ok       sandbox proxy  interface eth0  addresses 10.77.2.3/24, fd77:0:0:2::3/64
  Endpoint  front/proxy  drifted  sandbox proxy  interface eth1  addresses 10.77.1.2/24, fd77:0:0:1::2/64  gateway 10.77.1.1, fd77:0:0:1::1
  Endpoint  front/web    drifted  sandbox web  interface eth0  addresses 10.77.1.3/24, fd77:0:0:1::3/64  gateway 10.77.1.1, fd77:0:0:1::1
  Network front: link/br-front differs: mtu: 1500 -> 1400
  Endpoint front/proxy: link/@proxy/eth1 differs: mtu: 1500 -> 1400
  Endpoint front/proxy: link/ve-hqffazmu6g differs: mtu: 1500 -> 1400
  Endpoint front/web: link/@web/eth0 differs: mtu: 1500 -> 1400
  Endpoint front/web: link/ve-knwy3z3rjb differs: mtu: 1500 -> 1400
  Not in sync: 8 of 11 hold on rack1 (owner cnm).
  [2]
  $ unshare --user cnm diff --observed snapshot.json net
  ~   link/br-front
        mtu: 1500 -> 1400
  ~   link/@proxy/eth1
        mtu: 1500 -> 1400
  ~   link/ve-hqffazmu6g
        mtu: 1500 -> 1400
  ~   link/@web/eth0
        mtu: 1500 -> 1400
  ~   link/ve-knwy3z3rjb
        mtu: 1500 -> 1400
  [2]
  $ unshare --user cnm validate net
  valid: 2 networks, 4 sandboxes on rack1, 5 endpoints

It opens the manifests, the lock file and the snapshot, and nothing of the host.

  $ strace -f -e trace=open,openat,connect,socket,execve -o trace cnm plan -q --observed snapshot.json net
  [2]
  $ grep -E '/proc/(sys|net|[0-9]+/ns|thread-self/ns)|/sys/class|"/run/|/etc/resolv|NETLINK_ROUTE|execve.*nft' trace
  [1]
  $ cnm plan --observed nowhere.json net
  error: nowhere.json: No such file or directory
  [1]
  $ cnm plan --observed here.json net
  here.json: error: not a snapshot: this is a 'cnm-plan', not a cnm-snapshot
  [1]

Without privileges nothing is changed, and it is said what to do.

  $ unshare --user cnm apply --yes -q net
  error: setns: Operation not permitted; run cnm as root
  [1]
  $ cnm destroy --yes -q
