All nodes read the same manifests, and each does its own part.

  $ cat >net.yaml <<'END'
  > apiVersion: cnm/v1alpha1
  > kind: Node
  > metadata: {name: rack1}
  > ---
  > apiVersion: cnm/v1alpha1
  > kind: Node
  > metadata: {name: rack2}
  > ---
  > apiVersion: cnm/v1alpha1
  > kind: Network
  > metadata: {name: web}
  > spec: {subnets: [{cidr: 10.77.0.0/24}]}
  > ---
  > apiVersion: cnm/v1alpha1
  > kind: Sandbox
  > metadata: {name: one}
  > spec: {node: rack1}
  > ---
  > apiVersion: cnm/v1alpha1
  > kind: Sandbox
  > metadata: {name: two}
  > spec: {node: rack2}
  > ---
  > apiVersion: cnm/v1alpha1
  > kind: Endpoint
  > metadata: {name: one}
  > spec: {network: web, sandbox: one}
  > ---
  > apiVersion: cnm/v1alpha1
  > kind: Endpoint
  > metadata: {name: two}
  > spec: {network: web, sandbox: two}
  > END
  $ cnm validate net.yaml
  valid: 1 network, 1 sandbox on rack1, 2 endpoints
  note: automatic addresses are not in the lock file yet; `cnm lock` or `cnm apply` stores them
  $ cnm validate --node rack2 net.yaml
  valid: 1 network, 1 sandbox on rack2, 2 endpoints
  note: automatic addresses are not in the lock file yet; `cnm lock` or `cnm apply` stores them
  $ cnm validate --node rack3 net.yaml
  net.yaml:1:1: error: no Node document is this host (rack3); the manifests know: rack1, rack2
      hint: say which one this is: --node NAME
  [1]

In a pipeline that runs on none of them, all are checked.

  $ cnm validate --all-nodes net.yaml
  valid: 1 network, 1 sandbox on rack1, 2 endpoints
  valid: 1 network, 1 sandbox on rack2, 2 endpoints
  note: automatic addresses are not in the lock file yet; `cnm lock` or `cnm apply` stores them
  $ cnm apply --yes -q net.yaml
  $ cnm status net.yaml
  KIND      NAME     STATE   FACTS
  Network   web      ok      driver bridge  subnets 10.77.0.0/24  endpoints 1
  Sandbox   one      ok      stack netns
  Endpoint  web/one  ok      sandbox one  interface eth0  addresses 10.77.0.2/24  gateway 10.77.0.1
  Endpoint  web/two  remote  sandbox two  interface eth0  addresses 10.77.0.3/24  gateway 10.77.0.1  node rack2
  In sync: 3 of 3 hold on rack1 (owner cnm).
  $ ip netns list
  one (id: 0)
  $ cnm destroy --yes -q
