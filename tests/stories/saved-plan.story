A plan is made, kept, reviewed, and carried out as it is, or not at all.

  $ cat >net.yaml <<'END'
  > apiVersion: cnm/v1alpha1
  > kind: Network
  > metadata: {name: web}
  > spec: {subnets: [{cidr: 10.77.0.0/24}]}
  > END
  $ cnm plan -o plan.json -q net.yaml
  [2]
  $ stat -c '%a %n' plan.json
  600 plan.json
  $ python3 -c 'import json; plan = json.load(open("plan.json")); print(plan["format"], plan["format_version"], plan["owner"], plan["node"], plan["summary"])'
  cnm-plan 1 cnm rack1 {'create': 19, 'update': 1, 'recreate': 0, 'delete': 0, 'adopt': 0}

The same input gives the same bytes.

  $ cnm plan --json net.yaml >again.json; cmp plan.json again.json

It is for one owner and one host, and applied whole.

  $ cnm apply --yes plan.json --owner other
  error: plan.json is a plan of owner cnm, not other; say --owner cnm
  [1]
  $ cnm apply --yes plan.json --node rack2
  error: plan.json is a plan for node rack1; this is rack2
  [1]
  $ cnm apply --yes plan.json --target link/br-web
  error: a saved plan is applied whole: give --target and the like to `cnm plan`
  [1]
  $ cnm apply --yes nowhere.json
  nowhere.json: error: there is no such file or folder
      hint: check the path; manifests are named as arguments, or by CNM_MANIFESTS
  [1]

A plan that others can write proves nothing, nor does one that was changed.

  $ cp plan.json open.json && chmod 666 open.json && cnm apply --yes open.json
  error: open.json: others can write this plan, so it proves nothing; keep it with mode 0600, owned by you
  [1]
  $ sed '0,/"mtu": 1500/s//"mtu": 9000/' plan.json >forged.json; chmod 600 forged.json; cnm apply --yes forged.json
  Network/web  net.yaml:1
      + link/br-web
      + nft-chain/inet/cnm/forward
      + nft-chain/inet/cnm/from-web
      + nft-chain/inet/cnm/postrouting
      + nft-chain/inet/cnm/to-web
      + nft-element/inet/cnm/bridges/br-web
      ~ sysctl/net/ipv4/ip_forward
          value: 0 -> 1
      + ... and 13 more (-v shows them)
  Plan: 19 to create, 1 to change in place.
  Done: 20 steps in {seconds} s, verified.
  $ sed 's/br-web/br-wob/g' plan.json >forged.json; cnm apply --yes forged.json net.yaml
  link/br-wob: error: the manifests ask for something else than this plan
  nft-chain/inet/cnm/to-web: error: the manifests ask for something else than this plan
  nft-element/inet/cnm/bridges/br-wob: error: the manifests ask for something else than this plan
  nft-element/inet/cnm/from/br-wob: error: the manifests ask for something else than this plan
  nft-element/inet/cnm/to/br-wob: error: the manifests ask for something else than this plan
  sysctl/net/ipv6/conf/br-wob/disable_ipv6: error: the manifests ask for something else than this plan
  address/br-wob/10.77.0.1/24: error: the manifests ask for something else than this plan
  [1]
  $ echo '{"format": "cnm-plan"}' >forged.json; cnm apply --yes forged.json
  forged.json: error: not a plan: cnm-plan: no 'conflicts', no 'desired_fingerprint', no 'drift', no 'format_version', no 'node', no 'observed_fingerprint', no 'owner', no 'pending', no 'stages', no 'summary', no 'warnings'
  [1]

With the manifests beside it, it must still be what they ask for. With status 5 it is stale: plan again.

  $ sed 's/10.77/10.78/' net.yaml >other.yaml; cnm apply --yes plan.json other.yaml
  error: plan.json: the manifests changed since this plan was made; plan again
  [5]
  $ cnm apply --yes -q plan.json net.yaml
  link/br-web: error: stands here now; it did not when the plan was made
  nft-chain/inet/cnm/forward: error: stands here now; it did not when the plan was made
  nft-chain/inet/cnm/from-web: error: stands here now; it did not when the plan was made
  nft-chain/inet/cnm/postrouting: error: stands here now; it did not when the plan was made
  nft-chain/inet/cnm/to-web: error: stands here now; it did not when the plan was made
  nft-element/inet/cnm/bridges/br-web: error: stands here now; it did not when the plan was made
  nft-element/inet/cnm/from/br-web: error: stands here now; it did not when the plan was made
  nft-element/inet/cnm/masquerade4/10.77.0.0/24: error: stands here now; it did not when the plan was made
  nft-element/inet/cnm/to/br-web: error: stands here now; it did not when the plan was made
  nft-set/inet/cnm/bridges: error: stands here now; it did not when the plan was made
  nft-set/inet/cnm/from: error: stands here now; it did not when the plan was made
  nft-set/inet/cnm/masquerade4: error: stands here now; it did not when the plan was made
  nft-set/inet/cnm/masquerade6: error: stands here now; it did not when the plan was made
  nft-set/inet/cnm/snat4: error: stands here now; it did not when the plan was made
  nft-set/inet/cnm/snat6: error: stands here now; it did not when the plan was made
  nft-set/inet/cnm/to: error: stands here now; it did not when the plan was made
  nft-table/inet/cnm: error: stands here now; it did not when the plan was made
  sysctl/net/ipv4/ip_forward: error: changed since the plan was made: value
  sysctl/net/ipv6/conf/br-web/disable_ipv6: error: stands here now; it did not when the plan was made
  address/br-web/10.77.0.1/24: error: stands here now; it did not when the plan was made
  [5]
  $ cnm plan net.yaml
  Network/web  net.yaml:1
      ~ link/br-web
          mtu: 9000 -> 1500
  Plan: 1 to change in place.
  [2]
  $ cnm apply --yes plan.json
  link/br-web: error: stands here now; it did not when the plan was made
  nft-chain/inet/cnm/forward: error: stands here now; it did not when the plan was made
  nft-chain/inet/cnm/from-web: error: stands here now; it did not when the plan was made
  nft-chain/inet/cnm/postrouting: error: stands here now; it did not when the plan was made
  nft-chain/inet/cnm/to-web: error: stands here now; it did not when the plan was made
  nft-element/inet/cnm/bridges/br-web: error: stands here now; it did not when the plan was made
  nft-element/inet/cnm/from/br-web: error: stands here now; it did not when the plan was made
  nft-element/inet/cnm/masquerade4/10.77.0.0/24: error: stands here now; it did not when the plan was made
  nft-element/inet/cnm/to/br-web: error: stands here now; it did not when the plan was made
  nft-set/inet/cnm/bridges: error: stands here now; it did not when the plan was made
  nft-set/inet/cnm/from: error: stands here now; it did not when the plan was made
  nft-set/inet/cnm/masquerade4: error: stands here now; it did not when the plan was made
  nft-set/inet/cnm/masquerade6: error: stands here now; it did not when the plan was made
  nft-set/inet/cnm/snat4: error: stands here now; it did not when the plan was made
  nft-set/inet/cnm/snat6: error: stands here now; it did not when the plan was made
  nft-set/inet/cnm/to: error: stands here now; it did not when the plan was made
  nft-table/inet/cnm: error: stands here now; it did not when the plan was made
  sysctl/net/ipv4/ip_forward: error: changed since the plan was made: value
  sysctl/net/ipv6/conf/br-web/disable_ipv6: error: stands here now; it did not when the plan was made
  address/br-web/10.77.0.1/24: error: stands here now; it did not when the plan was made
  [5]
  $ sed -i 's/{subnets/{mtu: 1400, subnets/' net.yaml; cnm plan -q -o plan.json net.yaml
  [2]
  $ ip link set br-web mtu 1300; cnm apply --yes -q plan.json
  link/br-web: error: changed since the plan was made: mtu
  [5]
  $ ip link show br-web | grep -o 'mtu [0-9]*'
  mtu 1300
  $ cnm destroy --yes -q
