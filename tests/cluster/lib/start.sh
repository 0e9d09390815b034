# How each part is started. Flags and pitfalls are those of Kubernetes 1.37 on cgroup v1 or v2, without systemd.

free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

ports() {
  if [ ! -f "$run/ports" ]; then
    local name
    for name in etcd peer api manager scheduler kubelet health; do echo "port_$name=$(free_port)"; done >"$run/ports"
  fi
  . "$run/ports"
  [ -f "$run/token" ] || head -c 16 /dev/urandom | od -An -tx1 | tr -d ' \n' >"$run/token"
  printf '%s,admin,admin,system:masters\n' "$(cat "$run/token")" >"$run/tokens.csv"
  chmod 600 "$run/token" "$run/tokens.csv"
  cat >"$KUBECONFIG" <<YAML
apiVersion: v1
kind: Config
clusters: [{name: oppen-test, cluster: {server: "https://127.0.0.1:$port_api", insecure-skip-tls-verify: true}}]
users: [{name: admin, user: {token: "$(cat "$run/token")"}}]
contexts: [{name: oppen-test, context: {cluster: oppen-test, user: admin, namespace: default}}]
current-context: oppen-test
YAML
  chmod 600 "$KUBECONFIG"
}

certificates() {
  [ -f "$run/sa.key" ] || openssl genrsa -out "$run/sa.key" 2048 2>/dev/null
  [ -f "$run/sa.pub" ] || openssl rsa -in "$run/sa.key" -pubout -out "$run/sa.pub" 2>/dev/null
}

wait_for() { # wait_for WHAT SECONDS COMMAND...
  local what=$1 seconds=$2
  shift 2
  for _ in $(seq $((seconds * 5))); do
    "$@" >/dev/null 2>&1 && return 0
    sleep 0.2
  done
  fail "$what did not become ready in ${seconds}s; see $run/*.log"
}

start_etcd() {
  local url=http://127.0.0.1
  start etcd etcd --data-dir "$run/etcd" --unsafe-no-fsync --name test --listen-client-urls "$url:$port_etcd" --advertise-client-urls "$url:$port_etcd" \
    --listen-peer-urls "$url:$port_peer" --initial-advertise-peer-urls "$url:$port_peer" --initial-cluster "test=$url:$port_peer" --log-level warn
}

start_apiserver() {
  start apiserver "$bin/kube-apiserver" --etcd-servers "http://127.0.0.1:$port_etcd" --bind-address 127.0.0.1 --secure-port "$port_api" \
    --cert-dir "$run/apiserver" --token-auth-file "$run/tokens.csv" --authorization-mode Node,RBAC --service-cluster-ip-range 10.97.0.0/16 \
    --service-account-issuer https://kubernetes.default.svc --service-account-key-file "$run/sa.pub" --service-account-signing-key-file "$run/sa.key" \
    --kubelet-preferred-address-types Hostname --allow-privileged --anonymous-auth=false --max-requests-inflight 1000 --max-mutating-requests-inflight 500
  wait_for "the API server" 60 k get --raw /readyz
}

start_control() {
  start controller-manager "$bin/kube-controller-manager" --kubeconfig "$KUBECONFIG" --bind-address 127.0.0.1 --secure-port "$port_manager" --cert-dir "$run/manager" \
    --service-account-private-key-file "$run/sa.key" --use-service-account-credentials --leader-elect=false --kube-api-qps 1000 --kube-api-burst 2000 \
    --concurrent-job-syncs 20 --node-monitor-grace-period 40s --controllers '*,-bootstrap-signer-controller,-token-cleaner-controller'
  start scheduler "$bin/kube-scheduler" --kubeconfig "$KUBECONFIG" --bind-address 127.0.0.1 --secure-port "$port_scheduler" --cert-dir "$run/scheduler" \
    --leader-elect=false --kube-api-qps 1000 --kube-api-burst 2000
}

start_containerd() {
  mkdir -p "$run/cni"
  cat >"$run/containerd.toml" <<TOML
version = 2
root = "$run/containerd"
state = "$run/containerd-state"
[grpc]
  address = "$run/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "oppen.test/pause:1"
  restrict_oom_score_adj = true
  disable_apparmor = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "$run/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
TOML
  cat >"$run/cni/10-ptp.conflist" <<JSON
{"cniVersion": "0.4.0", "name": "oppen", "plugins": [{"type": "ptp", "ipMasq": false,
  "ipam": {"type": "host-local", "dataDir": "$run/cni-state", "ranges": [[{"subnet": "10.98.0.0/16"}]], "routes": [{"dst": "0.0.0.0/0"}]}}]}
JSON
  start containerd containerd --config "$run/containerd.toml"
  wait_for containerd 30 ctr -a "$run/containerd.sock" version
}

images() {
  build_images
  local name
  for name in pause busybox; do
    ctr -a "$run/containerd.sock" -n k8s.io image import "$cache/$name.tar" >/dev/null || fail "the image $name cannot be imported"
  done
}

start_kubelet() {
  mkdir -p "$run/kubelet" "$run/manifests"
  cat >"$run/kubelet.yaml" <<YAML
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: 127.0.0.1
port: $port_kubelet
healthzBindAddress: 127.0.0.1
healthzPort: $port_health
authentication: {anonymous: {enabled: true}, webhook: {enabled: false}}
authorization: {mode: AlwaysAllow}
cgroupDriver: cgroupfs
failCgroupV1: false
enforceNodeAllocatable: []
failSwapOn: false
podLogsDir: $run/pod-logs
staticPodPath: ""
containerRuntimeEndpoint: unix://$run/containerd.sock
resolvConf: ""
clusterDNS: []
maxPods: 250
kubeAPIQPS: 200
kubeAPIBurst: 400
imageGCHighThresholdPercent: 100
evictionHard: {memory.available: 100Mi, nodefs.available: 1%, imagefs.available: 1%}
syncFrequency: 5s
YAML
  start kubelet "$bin/kubelet" --config "$run/kubelet.yaml" --kubeconfig "$KUBECONFIG" --root-dir "$run/kubelet" --cert-dir "$run/kubelet/pki" --hostname-override localhost
  wait_for "the node" 60 sh -c "'$bin/kubectl' --kubeconfig '$KUBECONFIG' wait --for=condition=Ready node/localhost --timeout=1s"
  wait_for "the default service account" 30 k get serviceaccount default
}

# Two GPUs that nobody has: the scheduler counts them like real ones.
gpus() {
  k patch node localhost --subresource=status --type=json -p '[{"op": "add", "path": "/status/capacity/nvidia.com~1gpu", "value": "2"}, {"op": "add", "path": "/status/allocatable/nvidia.com~1gpu", "value": "2"}]' >/dev/null
}
