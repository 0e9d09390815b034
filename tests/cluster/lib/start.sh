# How each part is started. Flags and pitfalls are those of Kubernetes 1.37 on cgroup v1 or v2, without systemd.

free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

ports() {
  if [ ! -f "$run/ports" ]; then
    local name
    for name in etcd peer api manager scheduler kubelet health metrics; do echo "port_$name=$(free_port)"; done >"$run/ports"
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
  # Who the API server is, to the kubelet (pods can reach its address: it lets in only whom it knows) and to metrics-server.
  [ -f "$run/ca.crt" ] || openssl req -x509 -newkey rsa:2048 -nodes -days 365 -subj /CN=oppen-test -keyout "$run/ca.key" -out "$run/ca.crt" 2>/dev/null
  [ -f "$run/client.crt" ] || {
    openssl req -newkey rsa:2048 -nodes -subj /O=system:masters/CN=kube-apiserver -keyout "$run/client.key" -out "$run/client.csr" 2>/dev/null
    openssl x509 -req -days 365 -in "$run/client.csr" -CA "$run/ca.crt" -CAkey "$run/ca.key" -CAcreateserial -out "$run/client.crt" 2>/dev/null
  }
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
    --kubelet-preferred-address-types InternalIP --kubelet-client-certificate "$run/client.crt" --kubelet-client-key "$run/client.key" \
    --requestheader-client-ca-file "$run/ca.crt" --requestheader-username-headers X-Remote-User --requestheader-group-headers X-Remote-Group \
    --requestheader-extra-headers-prefix X-Remote-Extra- --proxy-client-cert-file "$run/client.crt" --proxy-client-key-file "$run/client.key" --allow-privileged --anonymous-auth=false --max-requests-inflight 1000 --max-mutating-requests-inflight 500
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
  ip address replace "$kubelet_address/32" dev lo
  cat >"$run/kubelet.yaml" <<YAML
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: $kubelet_address
port: $port_kubelet
healthzBindAddress: 127.0.0.1
healthzPort: $port_health
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: "$run/ca.crt"}}
authorization: {mode: Webhook}
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
  start kubelet "$bin/kubelet" --config "$run/kubelet.yaml" --kubeconfig "$KUBECONFIG" --root-dir "$run/kubelet" --cert-dir "$run/kubelet/pki" --hostname-override localhost --node-ip "$kubelet_address"
  wait_for "the node" 60 sh -c "'$bin/kubectl' --kubeconfig '$KUBECONFIG' wait --for=condition=Ready node/localhost --timeout=1s"
  wait_for "the default service account" 30 k get serviceaccount default
}

# Two GPUs that nobody has: the scheduler counts them like real ones.
gpus() {
  k patch node localhost --subresource=status --type=json -p '[{"op": "add", "path": "/status/capacity/nvidia.com~1gpu", "value": "2"}, {"op": "add", "path": "/status/allocatable/nvidia.com~1gpu", "value": "2"}]' >/dev/null
}

# metrics-server beside the cluster, as an API of it. A Service of type ExternalName leads there: endpoints may not be loopback addresses.
start_metrics() {
  alive metrics-server && return 0
  metrics_binary
  . "$run/ports"
  [ -n "${port_metrics:-}" ] || { port_metrics=$(free_port) && echo "port_metrics=$port_metrics" >>"$run/ports"; }
  start metrics-server "$bin/metrics-server" --kubeconfig "$KUBECONFIG" --authentication-kubeconfig "$KUBECONFIG" --authorization-kubeconfig "$KUBECONFIG" \
    --bind-address 127.0.0.1 --secure-port "$port_metrics" --cert-dir "$run/metrics" --metric-resolution 10s --kubelet-request-timeout 5s --kubelet-insecure-tls \
    --kubelet-preferred-address-types InternalIP --kubelet-use-node-status-port
  k apply -f - >/dev/null <<YAML
apiVersion: v1
kind: Service
metadata: {name: metrics-server, namespace: kube-system}
spec: {type: ExternalName, externalName: localhost, ports: [{port: $port_metrics}]}
---
apiVersion: apiregistration.k8s.io/v1
kind: APIService
metadata: {name: v1beta1.metrics.k8s.io}
spec:
  group: metrics.k8s.io
  version: v1beta1
  groupPriorityMinimum: 100
  versionPriority: 100
  insecureSkipTLSVerify: true
  service: {name: metrics-server, namespace: kube-system, port: $port_metrics}
YAML
}
