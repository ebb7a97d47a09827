What waits for something that is not there is no error: a warning and status 0 when planning and applying, status 2
from status.

  $ cat >net.yaml <<'END'
  > apiVersion: cnm/v1alpha1
  > kind: Network
  > metadata: {name: web}
  > spec: {subnets: [{cidr: 10.77.0.0/24}]}
  > ---
  > apiVersion: cnm/v1alpha1
  > kind: Sandbox
  > metadata: {name: guest}
  > spec: {stack: {path: /run/netns/guest}}
  > ---
  > apiVersion: cnm/v1alpha1
  > kind: Endpoint
  > metadata: {name: guest}
  > spec: {network: web, sandbox: guest, addresses: [10.77.0.10]}
  > END
  $ cnm apply --yes -q net.yaml
  $ cnm plan net.yaml
  net.yaml:11:1: warning: address/@guest.e0bf21/eth0/10.77.0.10/24 and 6 more wait (-v shows them): there is no network namespace at /run/netns/guest
  Plan: 7 pending.
  $ cnm diff net.yaml
  net.yaml:11:1: warning: address/@guest.e0bf21/eth0/10.77.0.10/24 and 6 more wait (-v shows them): there is no network namespace at /run/netns/guest
  $ cnm apply --yes net.yaml
  net.yaml:11:1: warning: address/@guest.e0bf21/eth0/10.77.0.10/24 and 6 more wait (-v shows them): there is no network namespace at /run/netns/guest
  Plan: 7 pending.
  $ cnm status net.yaml
  KIND      NAME       STATE    FACTS
  Network   web        ok       driver bridge  subnets 10.77.0.0/24  endpoints 1
  Sandbox   guest      pending  stack path /run/netns/guest
  Endpoint  web/guest  pending  sandbox guest  interface eth0  addresses 10.77.0.10/24  gateway 10.77.0.1
  Sandbox guest: waits: there is no network namespace at /run/netns/guest
  Endpoint web/guest: waits: there is no network namespace at /run/netns/guest
  Not in sync: 1 of 3 hold on rack1 (owner cnm).
  [2]
  $ cnm exec guest -m net.yaml -- true
  error: the namespace of sandbox guest is not there; `cnm status` says why
  [1]

It comes, and the next apply plugs it in.

  $ ip netns add guest
  $ cnm apply --yes -q net.yaml
  $ cnm status net.yaml
  KIND      NAME       STATE  FACTS
  Network   web        ok     driver bridge  subnets 10.77.0.0/24  endpoints 1
  Sandbox   guest      ok     stack path /run/netns/guest
  Endpoint  web/guest  ok     sandbox guest  interface eth0  addresses 10.77.0.10/24  gateway 10.77.0.1
  In sync: 3 of 3 hold on rack1 (owner cnm).
  $ ip -n guest -br -4 address show dev eth0 | tr -s ' ' | cut -d' ' -f2-
  UP 10.77.0.10/24
  $ cnm exec guest -m net.yaml -- ip route
  default via 10.77.0.1 dev eth0 proto 147
  10.77.0.0/24 dev eth0 proto kernel scope link src 10.77.0.10

Its namespace is somebody else's, and stays.

  $ cnm destroy --yes -q
  $ ip -n guest -br link | cut -d' ' -f1
  lo
  $ ip netns delete guest
