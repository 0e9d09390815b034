//! The output of a pod, into the same file that local attempts have, and its metrics.

use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use futures::AsyncReadExt as _;
use kube::api::LogParams;

use super::work::Cluster;
use crate::base::AttemptId;
use crate::engine::Observation;
use crate::track::Parser;

/// Tries before the output is given up.
const TRIES: u32 = 10;

/// Reads the pod's output from its start to its end. After a break it is read again; what was read before is passed over.
pub async fn follow(cluster: Arc<Cluster>, name: String, attempt: AttemptId, pod: String) {
    let path = crate::backend::log_path(&cluster.settings.state_dir, &name);
    if let Some(folder) = path.parent() {
        let _ = std::fs::create_dir_all(folder);
    }
    // What an earlier engine read was told by it.
    let told = std::fs::metadata(&path).map_or(0, |m| m.len());
    let Ok(mut file) = std::fs::File::create(&path) else { return };
    let (mut read, mut parser) = (0_u64, Parser::new());
    let send = |points: Vec<crate::record::event::MetricPoint>, at: u64| {
        if !points.is_empty() && at > told {
            cluster.tell(Observation::Metrics { attempt: attempt.clone(), points });
        }
    };
    for _ in 0..TRIES {
        let params = LogParams { follow: true, container: Some("run".to_owned()), ..LogParams::default() };
        if let Ok(stream) = cluster.pods().log_stream(&pod, &params).await {
            let mut stream = std::pin::pin!(stream);
            let (mut buffer, mut seen) = (vec![0_u8; 16 << 10], 0_u64);
            loop {
                let count = match stream.read(&mut buffer).await {
                    Ok(0) => {
                        send(parser.finish(), read);
                        return;
                    }
                    Ok(count) => count,
                    Err(_) => break,
                };
                let fresh = usize::try_from((seen + count as u64).saturating_sub(read)).unwrap_or(0).min(count);
                let piece = buffer.get(count - fresh..count).unwrap_or_default();
                seen += count as u64;
                read = read.max(seen);
                if file.write_all(piece).is_err() {
                    return;
                }
                send(parser.feed(piece), read);
            }
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}
