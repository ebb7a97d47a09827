Two repositories share a host, each with its own owner.

  $ cat >a.yaml <<'END'
  > apiVersion: cnm/v1alpha1
  > kind: Network
  > metadata: {name: a}
  > spec: {subnets: [{cidr: 10.77.1.0/24}]}
  > END
  $ sed 's/name: a/name: b/; s/77.1/77.2/' a.yaml >b.yaml
  $ cnm apply --yes -q a.yaml
  $ cnm apply --yes -q --owner team-b b.yaml

Neither sees the other's things, so neither removes them.

  $ cnm plan a.yaml
  No changes. The host is as the manifests say.
  $ cnm plan --owner team-b b.yaml
  No changes. The host is as the manifests say.
  $ cnm show --owner team-b | grep -o '^link.*]'
  link/br-b  [team-b]

What both want is a conflict.

  $ cnm plan --owner team-b a.yaml b.yaml | grep -A1 conflict
  a.yaml:1:1: conflict: link/br-a belongs to owner 'cnm'
      hint: remove it there first (cnm destroy --owner cnm --target 'link/br-a'), or do not ask for it here
  a.yaml:4:25: conflict: address/br-a/10.77.1.1/24 belongs to owner 'cnm'
      hint: remove it there first (cnm destroy --owner cnm --target 'address/br-a/10.77.1.1/24'), or do not ask for it here
  Plan: 6 to create, 2 in conflict.
  $ cnm apply --yes -q --owner team-b a.yaml b.yaml
  a.yaml:1:1: error: link/br-a belongs to owner 'cnm'
      hint: remove it there first (cnm destroy --owner cnm --target 'link/br-a'), or do not ask for it here
  a.yaml:4:25: error: address/br-a/10.77.1.1/24 belongs to owner 'cnm'
      hint: remove it there first (cnm destroy --owner cnm --target 'address/br-a/10.77.1.1/24'), or do not ask for it here
  [6]
  $ cnm destroy --yes -q
  $ ip -br link show type bridge | cut -d' ' -f1
  br-b
  $ nft list tables
  table inet cnm-team-b
  $ cnm destroy --yes -q --owner team-b
  $ nft list tables
