A plan says who gains reach by it and who loses it.

  $ cat > net.yaml <<'END'
  > apiVersion: cnm/v1alpha1
  > kind: Network
  > metadata: {name: front}
  > spec: {subnets: [{cidr: 10.1.0.0/24}, {cidr: "fd01::/64"}]}
  > END
  $ for name in web api db; do cat >> net.yaml <<END
  > ---
  > apiVersion: cnm/v1alpha1
  > kind: Sandbox
  > metadata: {name: $name}
  > ---
  > apiVersion: cnm/v1alpha1
  > kind: Endpoint
  > metadata: {name: $name}
  > spec: {network: front, sandbox: $name}
  > END
  > done
  $ cnm apply --yes -q net.yaml

Of a change nobody has to guess what it does.

  $ cat > policy.yaml <<'END'
  > apiVersion: cnm/v1alpha1
  > kind: Policy
  > metadata: {name: db}
  > spec:
  >   selector: cnm/sandbox == "db"
  >   ingress:
  >     - {action: allow, protocol: tcp, source: {selector: cnm/sandbox == "api"}, destination: {ports: [5432]}}
  > END
  $ cnm plan net.yaml policy.yaml | sed -n '/^Reach/,$p'
  Reach  2 pairs lose
      - front/api -> front/db: loses icmp, other tcp, other udp
      - front/web -> front/db: loses all
  Plan: 20 to create, 1 to change in place.
  $ cnm apply --yes -q net.yaml policy.yaml
  $ sed -i 's/"api"/"web"/' policy.yaml
  $ cnm plan net.yaml policy.yaml | sed -n '/^Reach/,$p'
  Reach  1 pair gains, 1 pair loses
      - front/api -> front/db: loses 5432/tcp
      + front/web -> front/db: gains 5432/tcp
  Plan: 5 to create, 1 to change in place, 5 to delete.
  $ cnm plan --markdown net.yaml policy.yaml | sed -n '/^#### Reach/,/^$/p;/^| from/,/^$/p'
  #### Reach
  
  | from | to | gains | loses |
  |---|---|---|---|
  | front/api | front/db |  | 5432/tcp |
  | front/web | front/db | 5432/tcp |  |
  $ cnm plan --json net.yaml policy.yaml > plan.json
  [2]
  $ python3 -c 'import json; [print(one) for one in json.load(open("plan.json"))["reach"]["changes"]]'
  {'from': ['front/api'], 'to': ['front/db'], 'gained': [], 'lost': ['5432/tcp'], 'named': []}
  {'from': ['front/web'], 'to': ['front/db'], 'gained': ['5432/tcp'], 'lost': [], 'named': []}
  $ cnm apply --yes plan.json | sed -n '/^Reach/,$p'
  Reach  1 pair gains, 1 pair loses
      - @api/eth0 -> @db/eth0: loses 5432/tcp
      + @web/eth0 -> @db/eth0: gains 5432/tcp
  Plan: 5 to create, 1 to change in place, 5 to delete.
  Done: 11 steps in {seconds} s, verified.

Nor of what somebody did by hand.

  $ nft flush ruleset
  $ cnm plan net.yaml policy.yaml | sed -n '/^Reach/,$p'
  Reach  2 pairs lose
      - front/api -> front/db: loses all
      - front/web -> front/db: loses icmp, other tcp, other udp
  Plan: 73 to create.
  $ cnm apply --yes -q net.yaml policy.yaml

An endpoint more is told with what it reaches, and who reaches it.

  $ cat > batch.yaml <<'END'
  > apiVersion: cnm/v1alpha1
  > kind: Sandbox
  > metadata: {name: batch}
  > ---
  > apiVersion: cnm/v1alpha1
  > kind: Endpoint
  > metadata: {name: batch}
  > spec: {network: front, sandbox: batch}
  > END
  $ cnm plan net.yaml policy.yaml batch.yaml | sed -n '/^Reach/,$p'
  Reach  5 pairs gain
      + front/api, front/db, front/web -> front/batch: gains all
      + front/batch -> front/api, front/web: gains all
  Plan: 16 to create.
  $ cnm plan net.yaml policy.yaml | tail -n1
  No changes. The host is as the manifests say.
  $ cnm destroy --yes -q
