Nothing at all is only believed when it is meant: `--allow-empty`.

  $ cat >net.yaml <<'END'
  > apiVersion: cnm/v1alpha1
  > kind: Network
  > metadata: {name: web}
  > spec: {subnets: [{cidr: 10.77.0.0/24}]}
  > END
  $ cnm apply --yes -q net.yaml
  $ mkdir empty
  $ cnm apply --yes -q empty
  empty: error: no documents were found
      hint: name a file or folder with manifests, or say --allow-empty to mean 'nothing at all'
  [1]
  $ cnm apply --yes -q gone
  gone: error: there is no such file or folder
      hint: check the path; manifests are named as arguments, or by CNM_MANIFESTS
  [1]
  $ ip -br link show br-web | cut -d' ' -f1
  br-web
  $ cnm plan --allow-empty gone | tail -n1
  Plan: 19 to delete, 2 going along.
  $ cnm diff --allow-empty empty | grep link
  -   link/br-web

Node documents of which none is this host are as good as nothing.

  $ cat >nodes.yaml <<'END'
  > apiVersion: cnm/v1alpha1
  > kind: Node
  > metadata: {name: rack7}
  > ---
  > apiVersion: cnm/v1alpha1
  > kind: Node
  > metadata: {name: rack8}
  > END
  $ cnm apply --yes net.yaml nodes.yaml
  nodes.yaml:1:1: error: no Node document is this host (rack1); the manifests know: rack7, rack8
      hint: say which one this is: --node NAME
  [1]
  $ cnm plan --node rack8 net.yaml nodes.yaml
  No changes. The host is as the manifests say.
  $ cnm apply --yes --allow-empty net.yaml nodes.yaml | tail -n1
  Done: 19 steps in {seconds} s, verified.
  $ ip -br link | grep -v ^lo
  [1]
