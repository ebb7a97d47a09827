What stands where ours should be and is not ours is never touched: status 6, and nothing is changed.

  $ cat >net.yaml <<'END'
  > apiVersion: cnm/v1alpha1
  > kind: Network
  > metadata: {name: web}
  > spec: {subnets: [{cidr: 10.77.0.0/24}]}
  > END
  $ ip link add br-web type bridge
  $ cnm plan net.yaml | tail -n3
  net.yaml:1:1: conflict: link/br-web stands here already and does not carry our mark
      hint: remove it, choose another name, or take it over: cnm adopt 'link/br-web'
  Plan: 18 to create, 2 to change in place, 1 in conflict.
  $ cnm plan -q net.yaml
  [6]
  $ cnm diff net.yaml | tail -n2
  net.yaml:1:1: conflict: link/br-web stands here already and does not carry our mark
      hint: remove it, choose another name, or take it over: cnm adopt 'link/br-web'
  $ cnm status net.yaml
  KIND     NAME  STATE     FACTS
  Network  web   conflict  driver bridge  subnets 10.77.0.0/24  endpoints 0
  Network web: link/br-web stands here already and does not carry our mark
  Network web: nft-chain/inet/cnm/forward is missing
  Network web: nft-chain/inet/cnm/from-web is missing
  Network web: nft-chain/inet/cnm/postrouting is missing
  Network web: ... and 17 more (-v shows them)
  Not in sync: 0 of 1 hold on rack1 (owner cnm).
  [6]
  $ cnm apply --yes -q net.yaml
  net.yaml:1:1: error: link/br-web stands here already and does not carry our mark
      hint: remove it, choose another name, or take it over: cnm adopt 'link/br-web'
  [6]
  $ cnm apply --yes --json net.yaml
  net.yaml:1:1: error: link/br-web stands here already and does not carry our mark
      hint: remove it, choose another name, or take it over: cnm adopt 'link/br-web'
  [6]
  $ ip -br address show br-web | tr -s ' '
  br-web DOWN

Unless it is taken over: this one thing, or all that stands in the way.

  $ cnm adopt --yes link/br-wob -m net.yaml
  error: no manifest wants link/br-wob; `cnm explain link/br-wob` tells what is known of it
  [1]
  $ cnm adopt --yes -v link/br-web -m net.yaml
  Network/web  net.yaml:1
      < link/br-web  [flap]
          up: false -> true
          mac: {mac} -> 02:1a:7d:ca:af:a5
          addr_gen: eui64 -> none
  Plan: 1 to take over.
  Done: 1 step in {seconds} s, verified.
  {times}
  $ cnm status net.yaml
  KIND     NAME  STATE    FACTS
  Network  web   drifted  driver bridge  subnets 10.77.0.0/24  endpoints 0
  Network web: nft-chain/inet/cnm/forward is missing
  Network web: nft-chain/inet/cnm/from-web is missing
  Network web: nft-chain/inet/cnm/postrouting is missing
  Network web: nft-chain/inet/cnm/to-web is missing
  Network web: ... and 16 more (-v shows them)
  Not in sync: 0 of 1 hold on rack1 (owner cnm).
  [2]
  $ cnm apply --yes -q net.yaml
  $ cnm destroy --yes -q
  $ ip link add br-web type bridge
  $ cnm apply --yes -q --adopt net.yaml
  $ cnm plan net.yaml
  No changes. The host is as the manifests say.
  $ cnm destroy --yes -q
  $ ip -br link | grep -v ^lo
  [1]
