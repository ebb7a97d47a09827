Manifests come from the arguments, else from $CNM_MANIFESTS, else ./manifests, else /etc/cnm; `-` is standard input.

  $ cat >a.yaml <<'END'
  > apiVersion: cnm/v1alpha1
  > kind: Network
  > metadata: {name: a}
  > spec: {subnets: [{cidr: 10.77.1.0/24}]}
  > END
  $ cnm validate - <a.yaml
  valid: 1 network, 0 sandboxes on rack1, 0 endpoints
  $ cnm plan -q - <a.yaml
  [2]
  $ cnm diff - <a.yaml | head -n1
  +   link/br-a
  $ mkdir -p more/deep && sed 's/name: a/name: b/; s/77.1/77.2/' a.yaml >more/deep/b.yml
  $ echo '{"apiVersion": "cnm/v1alpha1", "kind": "Sandbox", "metadata": {"name": "s"}}' >more/s.json
  $ cnm validate a.yaml more
  valid: 2 networks, 1 sandbox on rack1, 0 endpoints
  $ CNM_MANIFESTS=more cnm validate
  valid: 1 network, 1 sandbox on rack1, 0 endpoints
  $ CNM_MANIFESTS=a.yaml:more cnm validate
  valid: 2 networks, 1 sandbox on rack1, 0 endpoints
  $ cp -r more manifests && cnm validate
  valid: 1 network, 1 sandbox on rack1, 0 endpoints
  $ rm -r manifests; cnm validate
  error: no manifests: name files or folders, or set CNM_MANIFESTS (there is neither ./manifests nor /etc/cnm)
  [1]

A file that is named twice counts once; a name that stands twice is an error.

  $ cnm validate more more/deep/b.yml
  valid: 1 network, 1 sandbox on rack1, 0 endpoints
  $ cp a.yaml c.yaml; cnm validate a.yaml c.yaml
  c.yaml:1:1: error: Network a is declared twice; the other is at a.yaml:1:1
      hint: remove or rename one of them
  [1]
