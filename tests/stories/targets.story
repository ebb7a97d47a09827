A part of what is wanted: --target and --exclude, by keys or by documents.

  $ cp -r "$QUICKSTART" net
  $ cnm apply --yes --target 'Endpoint/front/web' net | tail -n1
  Done: 85 steps in {seconds} s, verified.
  $ ip netns list | sort
  web (id: 0)
  $ cnm plan --target 'Endpoint/front/web' net
  No changes. The host is as the manifests say.
  $ cnm plan --exclude 'Endpoint/back/*' --exclude 'Network/back' net | grep -E '^[A-Z]'
  Network/front  networks.yaml:3
  Sandbox/api  sandboxes.yaml:11
  Sandbox/db  sandboxes.yaml:15
  Sandbox/proxy  sandboxes.yaml:7
  Endpoint/front/proxy  endpoints.yaml:9
  Reach  2 pairs gain
  Plan: 13 to create, 3 to change in place.
  $ cnm apply --yes -q net

A target removes nothing, whatever the manifests no longer ask for.

  $ sed -i '/^# proxy/,$d' net/endpoints.yaml
  $ cnm plan --target 'link/br-*' net
  No changes. The host is as the manifests say.
  $ cnm plan net | tail -n1
  Plan: 36 to delete, 22 going along.

Without manifests only keys can be named. What hangs on them goes with them.

  $ cnm destroy --yes --target 'link/vx-*'
  There is nothing of owner cnm that matches to remove on this host.
  $ cnm destroy --yes --target netns/db
  to be destroyed
      - netns/db  [outage]
          takes along 7 more
  Plan: 1 to delete, 7 going along.
  Done: 1 step in {seconds} s, verified.
  $ ip netns list | sort | cut -d' ' -f1
  api
  proxy
  web
  $ cnm destroy --yes -q --exclude link/br-back
  $ ip -br link show type bridge | cut -d' ' -f1
  br-back
  $ cnm destroy --yes -q
  $ ip -br link show type bridge
