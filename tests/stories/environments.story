Patches change other documents on some nodes, or in some environments.

  $ cat >net.yaml <<'END'
  > apiVersion: cnm/v1alpha1
  > kind: Network
  > metadata: {name: web}
  > spec: {subnets: [{cidr: 10.77.0.0/24}]}
  > ---
  > apiVersion: cnm/v1alpha1
  > kind: Patch
  > metadata: {name: small-frames}
  > spec:
  >   target: {kind: Network, name: web}
  >   environments: [staging]
  >   operations: [{op: add, path: /spec/mtu, value: 1400}]
  > ---
  > apiVersion: cnm/v1alpha1
  > kind: Patch
  > metadata: {name: large-frames}
  > spec:
  >   target: {kind: Network, name: web}
  >   nodes: [rack2]
  >   operations: [{op: add, path: /spec/mtu, value: 9000}]
  > END
  $ mtu() { grep -o '"mtu": [0-9]*' | sort -u; }; cnm plan --json net.yaml | mtu
  "mtu": 1500
  $ mtu() { grep -o '"mtu": [0-9]*' | sort -u; }; cnm plan --json --env staging net.yaml | mtu
  "mtu": 1400
  $ mtu() { grep -o '"mtu": [0-9]*' | sort -u; }; cnm plan --json --node rack2 net.yaml | mtu
  "mtu": 9000
  $ cnm apply --yes -q --env staging net.yaml
  $ cnm diff net.yaml
  ~   link/br-web
        mtu: 1400 -> 1500
  [2]
  $ cnm diff --env staging net.yaml
  $ cnm destroy --yes -q

A patch that does not fit is an error at its own place.

  $ sed -i 's/op: add, path: .spec.mtu, value: 1400/op: remove, path: \/spec\/mut/' net.yaml
  $ cnm validate net.yaml
  valid: 1 network, 0 sandboxes on rack1, 0 endpoints
  $ cnm validate --env staging net.yaml
  net.yaml:12:16: error: remove /spec/mut: the document has no such place
      hint: a path names what is there already; only add, copy and move make the last part of one
  [1]
