//! What pods use: measured by the real metrics-server, else by the real kubelet, else said to be unknown.

use serde_json::Value;

use super::{Project, text};

/// A user that may see nodes and pods, and what it is given beyond that.
fn user(project: &Project, name: &str, more: &str) -> String {
    let (ns, full) = (&project.namespace, format!("{}-{name}", project.namespace));
    let rules = "{apiGroups: [''], resources: [nodes, pods], verbs: [get, list]}";
    project.apply(&format!(
        "apiVersion: v1\nkind: ServiceAccount\nmetadata: {{name: {name}, namespace: {ns}}}\n---\n\
         apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {{name: {full}}}\nrules: [{rules}{more}]\n---\n\
         apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRoleBinding\nmetadata: {{name: {full}}}\n\
         roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: {full}}}\n\
         subjects: [{{kind: ServiceAccount, name: {name}, namespace: {ns}}}]\n"
    ));
    let token = project.kubectl(&["-n", ns, "create", "token", name]);
    assert!(token.status.success(), "{}", text(&token.stderr));
    let admin = std::fs::read_to_string(&project.kubeconfig).unwrap();
    let (head, _) = admin.split_once("users:").unwrap();
    let path = project.folder.path().join(format!("{name}.kubeconfig"));
    let rest = format!(
        "users: [{{name: u, user: {{token: {}}}}}]\ncontexts: [{{name: c, context: {{cluster: oppen-test, user: u}}}}]\ncurrent-context: c\n",
        text(&token.stdout).trim()
    );
    std::fs::write(&path, format!("{head}{rest}")).unwrap();
    path.display().to_string()
}

/// What is seen with a kubeconfig: JSON, and the page.
fn seen(project: &Project, kubeconfig: &str) -> (Value, String) {
    let run = |args: &[&str]| {
        let out = project.command(args).env("KUBECONFIG", kubeconfig).output().unwrap();
        assert!(out.status.success(), "{}", text(&out.stderr));
        text(&out.stdout)
    };
    let deadline = ["dashboard", "--deadline", "10s"];
    let json = run(&[&deadline[..], &["-o", "json"]].concat());
    (serde_json::from_str(&json).unwrap(), run(&deadline))
}

/// Use of the run's pod, once it is measured.
fn pod(seen: &Value) -> Option<(u64, u64)> {
    let pods = seen["seen"]["usage"]["value"]["pods"].as_object()?;
    let used = pods.iter().find(|(name, _)| name.contains("/w-burn-"))?.1;
    Some((used["cpu_millis"].as_u64().filter(|c| *c > 0)?, used["memory_bytes"].as_u64().filter(|m| *m > 0)?))
}

fn measured(project: &Project, kubeconfig: &str, source: &str) {
    let right = || {
        let (seen, page) = seen(project, kubeconfig);
        let done = seen["seen"]["usage"]["source"] == source && pod(&seen).is_some();
        done.then_some((seen, page))
    };
    project.until(&format!("figures of {source}: {}", seen(project, kubeconfig).1), || right().is_some());
    let (seen, page) = right().unwrap();
    let (usage, totals) = (&seen["seen"]["usage"], &seen["seen"]["totals"]);
    assert_eq!(usage["quality"], "fresh", "{usage}");
    assert!(usage["age_ms"].as_u64().is_some() && usage["value"]["measured"].is_string(), "{usage}");
    let percent = |name: &str| totals[name].as_f64().filter(|p| *p > 0.0 && *p <= 100.0);
    assert!(percent("cpu_percent").is_some() && percent("memory_percent").is_some(), "{totals}");
    // One core is burnt: whoever measures sees most of it, unless the machine is very busy.
    assert!(pod(&seen).is_some_and(|(cpu, memory)| cpu > 20 && cpu <= 64_000 && memory < 256 << 20), "{usage}");
    assert!(page.contains(&format!("use measured by {source}, ")), "{page}");
    assert!(page.lines().any(|l| l.contains("w/burn") && l.contains(" cores ") && l.ends_with(" of 64.0 MiB")), "{page}");
    assert!(page.lines().all(|l| l.chars().count() <= 80), "{page}");
}

#[test]
fn pods_are_measured_by_metrics_server_or_by_their_kubelet() {
    let Some(project) = Project::new("usage", "  burn: {run: [awk, 'BEGIN{while(1);}'], timeout: 5m}\n") else { return };
    let mut apply = project.start(&["apply", "--yes"]);
    project.until("the run to start", || project.run("w/burn")["status"] == "running");
    let api = project.kubectl(&["get", "--raw", "/apis/metrics.k8s.io/v1beta1"]);
    if api.status.success() {
        let admin = project.kubeconfig.clone();
        measured(&project, &admin, "metrics-server");
        let health = text(&project.oppen(&["health"]).stdout);
        assert!(health.contains("metrics-server: 1 nodes measured"), "{health}");
    } else {
        eprintln!("skipped: this cluster has no metrics-server");
    }
    // Without a right to its API, and with one to the kubelets behind the API server.
    let kubelet = user(&project, "kubelet", ", {apiGroups: [''], resources: [nodes/proxy], verbs: [get]}");
    measured(&project, &kubelet, "kubelets");
    let (seen, page) = seen(&project, &user(&project, "nobody", ""));
    let usage = &seen["seen"]["usage"];
    assert!(usage["quality"] == "failed" && usage.get("value").is_none(), "{usage}");
    let why = usage["why"].as_str().unwrap();
    assert!(why.contains("nodes.metrics.k8s.io is forbidden") && why.contains("kubelets: "), "{why}");
    assert!(seen["seen"]["totals"].get("cpu_percent").is_none(), "what nobody measured is not 0: {}", seen["seen"]["totals"]);
    assert!(page.contains("use is not measured: ") && page.contains("CPU ? of "), "{page}");
    for name in ["kubelet", "nobody"] {
        let full = format!("{}-{name}", project.namespace);
        project.kubectl(&["delete", "clusterrole,clusterrolebinding", &full]);
    }
    assert!(project.oppen(&["cancel", "w/burn"]).status.success());
    assert_eq!(apply.wait().unwrap().code(), Some(8));
}

impl Project {
    fn apply(&self, yaml: &str) {
        let path = self.folder.path().join("objects.yaml");
        std::fs::write(&path, yaml).unwrap();
        let out = self.kubectl(&["apply", "-f", &path.display().to_string()]);
        assert!(out.status.success(), "{}", text(&out.stderr));
    }
}
