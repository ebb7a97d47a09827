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
  cnm-plan 1 cnm rack1 {'create': 20, 'update': 1, 'recreate': 0, 'delete': 0, 'adopt': 0}

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
  forged.json: error: not a plan: create:link/br-web: patch does not fit the rest
  [1]
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
  $ cnm plan net.yaml
  No changes. The host is as the manifests say.
  $ cnm apply --yes plan.json
  link/br-web: error: stands here now; it did not when the plan was made
  nft-chain/inet/cnm/forward: error: stands here now; it did not when the plan was made
  nft-chain/inet/cnm/from-web: error: stands here now; it did not when the plan was made
  nft-chain/inet/cnm/postrouting: error: stands here now; it did not when the plan was made
  nft-chain/inet/cnm/to-web: error: stands here now; it did not when the plan was made
  error: this plan no longer fits the host in 21 places; plan again
  [5]
  $ sed -i 's/{subnets/{mtu: 1400, subnets/' net.yaml; cnm plan -q -o plan.json net.yaml
  [2]
  $ ip link set br-web mtu 1300; cnm apply --yes -q plan.json
  link/br-web: error: changed since the plan was made: mtu
  [5]
  $ ip link show br-web | grep -o 'mtu [0-9]*'
  mtu 1300
  $ cnm destroy --yes -q
