What is wrong is said once, with its place and what to write instead. Everything wrong ends with status 1.

  $ cnm frobnicate
  error: no such command 'frobnicate'.
  Usage: cnm [OPTIONS] COMMAND [ARGS]...
  Try: cnm --help
  [1]
  $ cnm plan --frobnicate
  error: no such option: --frobnicate
  Usage: cnm plan [OPTIONS] [MANIFESTS...]
  Try: cnm plan --help
  [1]
  $ cnm plan --node
  error: option '--node' requires an argument.
  [1]
  $ cnm explain
  error: name a key, or two endpoints with --from and --to
  [1]
  $ cnm plan --owner 'Not Me' .
  error: --owner 'Not Me': write lower-case letters, digits and '-', at most 63
  [1]

No manifests at all:

  $ cnm plan
  error: no manifests: name files or folders, or set CNM_MANIFESTS (there is neither ./manifests nor /etc/cnm)
  [1]
  $ cnm plan nowhere
  nowhere: error: there is no such file or folder
      hint: check the path; manifests are named as arguments, or by CNM_MANIFESTS
  [1]
  $ mkdir empty
  $ cnm plan empty
  empty: error: no documents were found
      hint: name a file or folder with manifests, or say --allow-empty to mean 'nothing at all'
  [1]
  $ cnm apply --yes empty
  empty: error: no documents were found
      hint: name a file or folder with manifests, or say --allow-empty to mean 'nothing at all'
  [1]
  $ cnm diff empty
  empty: error: no documents were found
      hint: name a file or folder with manifests, or say --allow-empty to mean 'nothing at all'
  [1]
  $ cnm status empty
  empty: error: no documents were found
      hint: name a file or folder with manifests, or say --allow-empty to mean 'nothing at all'
  [1]
  $ cnm validate empty
  empty: error: no documents were found
      hint: name a file or folder with manifests, or say --allow-empty to mean 'nothing at all'
  [1]

All mistakes of all files come at once.

  $ mkdir bad
  $ cat >bad/a.yaml <<'END'
  > apiVersion: cnm/v1alpha1
  > kind: Network
  > metadata: {name: web}
  > spec:
  >   subnet: [{cidr: 10.77.0.0/24}]
  >   mtu: big
  > ---
  > apiVersion: cnm/v1alpha1
  > kind: Netwrok
  > metadata: {name: db}
  > END
  $ cat >bad/b.yaml <<'END'
  > apiVersion: cnm/v1alpha1
  > kind: Endpoint
  > metadata: {name: shop, name: shop}
  > spec: {network: web, sandbox: shop, interface: an-interface-name-too-long}
  > END
  $ cnm validate bad
  a.yaml:5:3: error: unknown key 'subnet'
      hint: did you mean 'subnets'?
  a.yaml:6:8: error: mtu: expected a whole number, found 'big'
  a.yaml:9:7: error: kind 'Netwrok' is not known
      hint: did you mean 'Network'?
  b.yaml:3:24: error: key 'name' is written twice (first in line 3)
      hint: remove one of them
  b.yaml:4:48: error: 'an-interface-name-too-long' is not a valid interface name
      hint: write 1 to 15 bytes
  5 errors; nothing was touched
  [1]
  $ cnm plan -q bad
  a.yaml:5:3: error: unknown key 'subnet'
      hint: did you mean 'subnets'?
  a.yaml:6:8: error: mtu: expected a whole number, found 'big'
  a.yaml:9:7: error: kind 'Netwrok' is not known
      hint: did you mean 'Network'?
  b.yaml:3:24: error: key 'name' is written twice (first in line 3)
      hint: remove one of them
  b.yaml:4:48: error: 'an-interface-name-too-long' is not a valid interface name
      hint: write 1 to 15 bytes
  5 errors; nothing was touched
  [1]

References come next.

  $ cat >web.yaml <<'END'
  > apiVersion: cnm/v1alpha1
  > kind: Network
  > metadata: {name: web}
  > spec: {subnets: [{cidr: 10.77.0.0/24}, {cidr: 10.77.0.128/25}]}
  > ---
  > apiVersion: cnm/v1alpha1
  > kind: Sandbox
  > metadata: {name: shop}
  > spec: {stack: none}
  > ---
  > apiVersion: cnm/v1alpha1
  > kind: Endpoint
  > metadata: {name: shop}
  > spec: {network: wbe, sandbox: shop, addresses: [10.78.0.1]}
  > END
  $ cnm validate web.yaml
  web.yaml:4:47: error: subnet 10.77.0.128/25 of network web overlaps 10.77.0.0/24 of network web (web.yaml:4:25)
      hint: give them subnets that do not overlap
  web.yaml:14:17: error: there is no network 'wbe'
      hint: did you mean 'web'?
  web.yaml:14:31: error: sandbox shop can have no endpoint: it has loopback only
      hint: give it 'stack: netns'
  3 errors; nothing was touched
  [1]

Manifests cannot be made to read what they should not, or to eat the machine.

  $ ln -s /etc bad/etc && mkfifo bad/pipe.yaml && rm bad/a.yaml bad/b.yaml
  $ cnm validate bad
  etc: error: is a symbolic link that leaves the manifest folder
      hint: copy what it points to into the folder
  pipe.yaml: error: is not a regular file
      hint: manifests are regular files; use - for standard input
  2 errors; nothing was touched
  [1]

Nothing was touched.

  $ ip -br link | grep -v ^lo
  [1]
