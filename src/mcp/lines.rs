//! Lines of standard input, before the protocol sees them: what is no JSON gets an answer.
//!
//! In: bytes of an agent, answers of the protocol. Out: whole lines that are JSON, and an error for each that is not: whoever writes `NaN` must not
//! wait for ever. Must never write into the middle of another line, nor keep more than one line.

use serde_json::{Value, json};
use tokio::io::{AsyncBufRead, AsyncBufReadExt as _, AsyncRead, AsyncWrite, AsyncWriteExt as _, BufReader};
use tokio::sync::mpsc::{Receiver, Sender, channel};

/// Bytes on their way to and from the protocol.
const ROOM: usize = 64 << 10;
/// Refusals that wait for their reader; then no more is read.
const WAITING: usize = 64;
/// JSON-RPC's code for what cannot be parsed.
const PARSE: i64 = -32700;

/// The two ends that the protocol reads and writes, and the work that must end before the program does.
pub fn between<R, W>(read: R, write: W, longest: usize) -> (impl AsyncRead, impl AsyncWrite, tokio::task::JoinHandle<()>)
where
    R: AsyncRead + Send + Unpin + 'static,
    W: AsyncWrite + Send + Unpin + 'static,
{
    let (inside, input) = tokio::io::duplex(ROOM);
    let (output, outside) = tokio::io::duplex(ROOM);
    let (refuse, refused) = channel(WAITING);
    tokio::spawn(listen(BufReader::new(read), inside, refuse, longest));
    let told = tokio::spawn(tell(BufReader::new(outside), write, refused));
    (input, output, told)
}

async fn listen(mut read: impl AsyncBufRead + Unpin, mut inside: impl AsyncWrite + Unpin, refuse: Sender<String>, longest: usize) {
    let mut line = Vec::new();
    while let Some(whole) = next(&mut read, &mut line, longest).await {
        let wrong = match serde_json::from_slice::<Value>(&line) {
            _ if line.trim_ascii().is_empty() => continue,
            _ if !whole => format!("a line has more than {} MiB", longest >> 20),
            Err(e) => format!("this line is no JSON, which has no NaN and no Infinity: {e}"),
            Ok(_) => {
                if inside.write_all(&line).await.is_err() || inside.flush().await.is_err() {
                    return;
                }
                continue;
            }
        };
        let answer = json!({"jsonrpc": "2.0", "id": id(&line), "error": {"code": PARSE, "message": wrong}});
        if refuse.send(format!("{answer}\n")).await.is_err() {
            return;
        }
    }
}

/// The next line with its end, and whether it is whole: of one that is too long the beginning is kept. None at the end.
async fn next(read: &mut (impl AsyncBufRead + Unpin), line: &mut Vec<u8>, longest: usize) -> Option<bool> {
    line.clear();
    let mut whole = true;
    loop {
        let bytes = read.fill_buf().await.ok()?;
        if bytes.is_empty() {
            return (!line.is_empty()).then_some(whole);
        }
        let end = bytes.iter().position(|b| *b == b'\n');
        let take = end.map_or(bytes.len(), |at| at + 1);
        let room = longest.saturating_sub(line.len());
        whole &= take <= room;
        line.extend(bytes.iter().take(take.min(room)));
        read.consume(take);
        if end.is_some() {
            return Some(whole);
        }
    }
}

/// The call's id, where it stands before what cannot be read.
fn id(line: &[u8]) -> Value {
    let text = String::from_utf8_lossy(line.get(..line.len().min(4096)).unwrap_or(line));
    let head = text.split("\"params\"").next().unwrap_or_default();
    let value = head.split_once("\"id\"").and_then(|(_, rest)| rest.trim_start().strip_prefix(':')).map(str::trim_start);
    let first = value.and_then(|v| serde_json::Deserializer::from_str(v).into_iter::<Value>().next()?.ok());
    first.filter(|id| id.is_u64() || id.is_i64() || id.as_str().is_some_and(|s| s.len() <= 256)).unwrap_or(Value::Null)
}

async fn tell(mut outside: impl AsyncBufRead + Unpin, mut write: impl AsyncWrite + Unpin, mut refused: Receiver<String>) {
    let (mut line, mut refusing) = (Vec::new(), true);
    loop {
        // A line that has begun is not left: what was read of it stays when a refusal comes first.
        let ready = tokio::select! {
            refusal = refused.recv(), if refusing && line.is_empty() => match refusal {
                Some(refusal) => refusal.into_bytes(),
                None => {
                    refusing = false;
                    continue;
                }
            },
            read = outside.read_until(b'\n', &mut line) => match read {
                Ok(0) | Err(_) => return,
                Ok(_) => std::mem::take(&mut line),
            },
        };
        if write.write_all(&ready).await.is_err() || write.flush().await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt as _;

    use super::*;

    #[test]
    fn what_is_no_json_is_answered_under_its_id() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (seen, told) = runtime.block_on(async {
            let (mut agent, read) = tokio::io::duplex(1 << 10);
            let (write, mut answers) = tokio::io::duplex(1 << 16);
            let (mut input, output, done) = between(read, write, 100);
            let long = format!("{{\"id\": 9, \"x\": \"{}\"}}\n", "y".repeat(200));
            let good = "{\"id\": 1}\n";
            let all = [
                good,
                "\n",
                "{\"id\": 7, \"params\": {\"id\": 8, \"usd\": NaN}}\n",
                &long,
                "{\"params\": {\"id\": 3}\n",
                "\u{1b}[2J\n",
                good,
            ];
            agent.write_all(all.concat().as_bytes()).await.unwrap();
            drop(agent);
            let mut seen = String::new();
            input.read_to_string(&mut seen).await.unwrap();
            drop((input, output));
            done.await.unwrap();
            let mut told = String::new();
            answers.read_to_string(&mut told).await.unwrap();
            (seen, told)
        });
        assert_eq!(seen, "{\"id\": 1}\n{\"id\": 1}\n");
        let ids: Vec<Value> = told.lines().map(|l| serde_json::from_str::<Value>(l).unwrap()["id"].clone()).collect();
        assert_eq!(ids, [json!(7), json!(9), Value::Null, Value::Null], "{told}");
        assert!(told.contains("which has no NaN") && told.contains("more than 0 MiB") && !told.contains('\u{1b}'), "{told}");
    }
}
