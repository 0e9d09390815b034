# What the cluster is made of: Debian's packages, and Kubernetes and metrics-server built from their Go modules.

packages() {
  local missing=() pair
  for pair in etcd:etcd-server containerd:containerd runc:runc conntrack:conntrack iptables:iptables busybox:busybox-static openssl:openssl gcc:gcc ip:iproute2; do
    command -v "${pair%%:*}" >/dev/null || missing+=("${pair##*:}")
  done
  [ -x /usr/lib/cni/ptp ] || missing+=(containernetworking-plugins)
  [ -f /usr/lib/x86_64-linux-gnu/libc.a ] || [ -f /usr/lib/aarch64-linux-gnu/libc.a ] || missing+=(libc6-dev)
  [ ${#missing[@]} -eq 0 ] && return
  command -v apt-get >/dev/null || fail "missing: ${missing[*]} (install them, or set OPPEN_TEST_KUBECONFIG)"
  say "installing ${missing[*]}"
  # Packages must not start their services: ours listen on ports of their own.
  printf '#!/bin/sh\nexit 101\n' >"/tmp/policy-rc.$$"
  local policy=/usr/sbin/policy-rc.d had=
  [ -e $policy ] && had=1 || install -m 755 "/tmp/policy-rc.$$" $policy
  apt-get update -qq >&2 || true
  local ok=0
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >&2 || ok=1
  [ -n "$had" ] || rm -f $policy
  rm -f "/tmp/policy-rc.$$"
  [ $ok = 0 ] || fail "could not install ${missing[*]}"
}

# The module's own go.mod maps its parts to ./staging; a module that needs it must map them to their releases.
module() {
  local folder
  folder=$(go mod download -json "k8s.io/kubernetes@$version" | sed -n 's/^\s*"Dir": "\(.*\)",\{0,1\}$/\1/p')
  [ -n "$folder" ] || fail "the Go module k8s.io/kubernetes $version cannot be had"
  {
    printf 'module oppen.test/cluster\n\ngo 1.26\n\nrequire k8s.io/kubernetes %s\n\n' "$version"
    sed -n 's#^\s*\(replace \)\{0,1\}\(k8s.io/[a-z0-9-]*\) => ./staging/.*#replace \2 => \2 '"$modules"'#p' "$folder/go.mod"
  } >go.mod
  {
    printf '//go:build tools\n\npackage tools\n\nimport (\n'
    printf '\t_ "k8s.io/kubernetes/cmd/%s"\n' kube-apiserver kube-controller-manager kube-scheduler kubectl kubelet
    printf ')\n'
  } >tools.go
  go mod tidy -e >/dev/null 2>&1 || true
}

binaries() {
  local name missing=()
  for name in kube-apiserver kube-controller-manager kube-scheduler kubelet kubectl; do
    [ -x "$bin/$name" ] || missing+=("$name")
  done
  [ ${#missing[@]} -eq 0 ] && return
  command -v go >/dev/null || fail "Go is missing: it builds Kubernetes (or set OPPEN_TEST_KUBECONFIG)"
  say "building ${missing[*]} (about 6 minutes on 2 cores, once)"
  mkdir -p "$cache/build" "$bin"
  cd "$cache/build"
  [ -f go.sum ] || module
  local base=k8s.io/component-base/version
  for name in "${missing[@]}"; do
    go build -mod=mod -ldflags "-s -w -X $base.gitVersion=$version -X $base.gitMajor=1 -X $base.gitMinor=37" -o "$bin/$name.new" "k8s.io/kubernetes/cmd/$name"
    mv "$bin/$name.new" "$bin/$name"
  done
  cd "$here"
}

metrics_binary() {
  [ -x "$bin/metrics-server" ] && return
  command -v go >/dev/null || fail "Go is missing: it builds metrics-server"
  say "building metrics-server (about 3 minutes on 2 cores, once)"
  mkdir -p "$bin"
  GOBIN=$bin go install -ldflags "-s -w" "sigs.k8s.io/metrics-server/cmd/metrics-server@$metrics_server"
}

# A container image of one layer, as `ctr image import` reads it: archive NAME ROOTFS ENTRY...
image() {
  local name=$1 root=$2 out=$3
  shift 3
  local work layer config
  work=$(mktemp -d)
  tar --numeric-owner --owner=0 --group=0 -C "$root" -cf "$work/layer.tar" .
  layer=$(sha256sum "$work/layer.tar" | cut -d' ' -f1)
  printf '{"architecture":"%s","os":"linux","config":{"Entrypoint":%s},"rootfs":{"type":"layers","diff_ids":["sha256:%s"]}}' \
    "$(go env GOARCH 2>/dev/null || echo amd64)" "$1" "$layer" >"$work/config.json"
  config=$(sha256sum "$work/config.json" | cut -d' ' -f1)
  mv "$work/config.json" "$work/$config.json"
  printf '[{"Config":"%s.json","RepoTags":["%s"],"Layers":["layer.tar"]}]' "$config" "$name" >"$work/manifest.json"
  tar -C "$work" -cf "$out" manifest.json "$config.json" layer.tar
  rm -rf "$work"
}

# pause: sleeps until it is told to end. busybox: sh, awk and all the rest as links.
build_images() {
  local root
  [ -f "$cache/pause.tar" ] || {
    root=$(mktemp -d)
    printf '#include <signal.h>\n#include <unistd.h>\nstatic void end(int s){(void)s;_exit(0);}\nint main(void){signal(SIGTERM,end);signal(SIGINT,end);for(;;)pause();}\n' >"$root/p.c"
    gcc -Os -static -o "$root/pause" "$root/p.c" || fail "the pause program cannot be built"
    rm "$root/p.c"
    image oppen.test/pause:1 "$root" "$cache/pause.tar" '["/pause"]'
    rm -rf "$root"
  }
  [ -f "$cache/busybox.tar" ] || {
    root=$(mktemp -d)
    mkdir -p "$root/bin" "$root/usr/bin" "$root/etc" "$root/tmp"
    chmod 1777 "$root/tmp"
    cp "$(command -v busybox)" "$root/bin/busybox"
    for applet in $("$root/bin/busybox" --list); do [ "$applet" = busybox ] || ln -s busybox "$root/bin/$applet"; done
    printf 'root:x:0:0::/:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n' >"$root/etc/passwd"
    image oppen.test/busybox:1 "$root" "$cache/busybox.tar" '[]'
    rm -rf "$root"
  }
}
