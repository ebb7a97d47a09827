Automatic addresses are kept in cnm.lock beside the manifests, so that every node computes the same.

  $ mkdir net && cat >net/all.yaml <<'END'
  > apiVersion: cnm/v1alpha1
  > kind: Network
  > metadata: {name: web}
  > ---
  > apiVersion: cnm/v1alpha1
  > kind: Sandbox
  > metadata: {name: shop}
  > ---
  > apiVersion: cnm/v1alpha1
  > kind: Endpoint
  > metadata: {name: shop}
  > spec: {network: web, sandbox: shop}
  > END
  $ cnm validate net
  valid: 1 network, 1 sandbox on rack1, 1 endpoint
  note: automatic addresses are not in the lock file yet; `cnm lock` or `cnm apply` stores them
  $ cnm lock --check net
  net/cnm.lock is stale
  [2]
  $ cnm validate --locked net
  all.yaml:12:1: error: web/shop has no address in the lock file
      hint: run `cnm lock` and commit cnm.lock
  all.yaml:1:1: error: network web has no subnet in the lock file
      hint: run `cnm lock` and commit cnm.lock
  [1]
  $ cnm plan -q --locked net
  all.yaml:12:1: error: web/shop has no address in the lock file
      hint: run `cnm lock` and commit cnm.lock
  all.yaml:1:1: error: network web has no subnet in the lock file
      hint: run `cnm lock` and commit cnm.lock
  [1]
  $ cnm lock net
  net/cnm.lock: written
  $ cat net/cnm.lock
  # Automatic addresses, decided by cnm. Commit this file with the manifests;
  # `cnm lock` and `cnm apply` keep it up to date, `--locked` refuses to change it.
  version: 1
  subnets:
    web: ["172.17.0.0/16"]
  addresses:
    web/shop: ["172.17.0.2"]
  $ cnm lock net
  net/cnm.lock: up to date
  $ cnm lock --check net
  net/cnm.lock: up to date
  $ cnm validate --locked net
  valid: 1 network, 1 sandbox on rack1, 1 endpoint
  $ cnm lock - <net/all.yaml
  error: manifests from standard input have no lock file beside them; name one with --lock-file
  [1]
  $ cnm lock --lock-file other.lock - <net/all.yaml
  other.lock: written

Only one cnm changes a host at a time: status 5.

  $ cnm apply --yes -q --locked net
  $ sed -i 's/metadata: {name: web}/&\nspec: {mtu: 1400}/' net/all.yaml
  $ flock /run/cnm/lock-$(ls /run/cnm | sed -n 's/^cnm-\(.*\).json$/\1/p') cnm apply --yes -q net
  error: another cnm is changing this host: process {pid} (apply, owner cnm) since {time}; try again when it is done
  [5]
  $ cnm apply --yes -q net
  $ cnm destroy --yes -q
