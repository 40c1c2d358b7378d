//! The Unix socket: one JSON object a line in, one out, then the connection is closed. Mode 0600, so that the file's
//! owner is who may command.
//!
//! `{"command":"show","what":"calls","limit":100}`, `{"command":"hangup","call":"call_…"}`, `{"command":"reload"}`,
//! `{"command":"drain","stop":false}`, `{"command":"show","what":"limits","account":"alice"}`,
//! `{"command":"show","what":"calls","all_sites":true}`, `{"command":"retire","site":"lon-1","incarnation":7}`,
//! `{"command":"found"}`, `{"command":"unblock","source":"192.0.2.7"}`. The answer has `"ok":true`, or `"ok":false` and `"error"`.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crossbeam::channel::bounded;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::links::Question;
use super::show::{ROWS_MAX, What, show};
use super::state::{Request, State, hangup, unblock};
use crate::base::Source;
use crate::observe::CallId;

const REQUEST_BYTES_MAX: u64 = 4_096;
const CONNECTIONS_MAX: usize = 16;
const PEER_WAIT: Duration = Duration::from_secs(10);
const SUPERVISOR_WAIT: Duration = Duration::from_secs(30);

/// Binds the socket, in place of one that a dead process left. Nobody else can connect at any moment: it is made inside
/// a folder of mode 0700 and then moved.
///
/// # Errors
/// `AddrInUse` when a living process answers there; else the kernel's.
pub fn bind(path: &Path) -> io::Result<std::os::unix::net::UnixListener> {
    if std::os::unix::net::UnixStream::connect(path).is_ok() {
        return Err(io::Error::new(io::ErrorKind::AddrInUse, "another strowger answers at this socket"));
    }
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let folder = parent.join(format!(".strowger-{}", std::process::id()));
    let _ = fs::remove_dir_all(&folder);
    DirBuilder::new().mode(0o700).create(&folder)?;
    let made = folder.join("s");
    let bound = std::os::unix::net::UnixListener::bind(&made).and_then(|listener| {
        fs::set_permissions(&made, fs::Permissions::from_mode(0o600))?;
        fs::rename(&made, path)?;
        listener.set_nonblocking(true)?;
        Ok(listener)
    });
    let _ = fs::remove_dir_all(&folder);
    bound
}

/// Serves until the process ends.
pub async fn serve(listener: UnixListener, state: Arc<State>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let state = Arc::clone(&state);
                tokio::spawn(async move {
                    let _ = timeout(PEER_WAIT + SUPERVISOR_WAIT, talk(stream, state)).await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "a connection to the Unix socket could not be accepted");
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        }
    }
}

async fn talk(stream: UnixStream, state: Arc<State>) -> io::Result<()> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    let read = timeout(PEER_WAIT, (&mut reader).take(REQUEST_BYTES_MAX).read_line(&mut line)).await;
    if let Ok(Ok(_)) = read
        && let Ok(asked) = serde_json::from_str::<Value>(&line)
        && asked["command"] == "take_over"
    {
        return take_over(reader.into_inner(), asked, &state).await;
    }
    let answer = match read {
        Ok(Ok(_)) if line.ends_with('\n') => answer(&line, &state).await,
        Ok(Ok(0)) => return Ok(()),
        _ => failure(format!("a request is one line of at most {REQUEST_BYTES_MAX} bytes")),
    };
    let mut text = answer.to_string();
    text.push('\n');
    reader.get_mut().write_all(text.as_bytes()).await?;
    reader.get_mut().shutdown().await
}

/// The supervisor goes on with this connection; only root and who runs this may ask it to.
async fn take_over(mut stream: UnixStream, asked: Value, state: &State) -> io::Result<()> {
    let user = stream.peer_cred()?.uid();
    if user != 0 && user != rustix::process::geteuid().as_raw() {
        let refusal = failure(format!("user {user} may not take over; root and the user that runs it may"));
        return stream.write_all(format!("{refusal}\n").as_bytes()).await;
    }
    let stream = stream.into_std()?;
    stream.set_nonblocking(false)?;
    // If the supervisor is too busy, the end of the connection says so.
    let _ = state.requests.try_send(Request::TakeOver { stream, asked });
    Ok(())
}

fn failure(error: impl Into<String>) -> Value {
    json!({ "ok": false, "error": error.into() })
}

async fn answer(line: &str, state: &Arc<State>) -> Value {
    let Ok(request) = serde_json::from_str::<Value>(line) else { return failure("not JSON") };
    let word = |key: &str| request[key].as_str().unwrap_or_default().to_owned();
    match word("command").as_str() {
        "show" => answer_show(&request, state).await,
        "hangup" => {
            let Some(call) = CallId::parse(&word("call")) else { return failure("that is not the name of a call") };
            blocking(state, move |state| hangup(state.post.as_ref(), call).map(|()| json!({}))).await
        }
        "unblock" => {
            let Some(source) = Source::parse(&word("source")) else {
                return failure("`source` is an IP address, as `strowger show blocked` has it");
            };
            blocking(state, move |state| unblock(state.post.as_ref(), source).map(|()| json!({}))).await
        }
        "retire" => match request["incarnation"].as_u64().and_then(|number| u32::try_from(number).ok()) {
            Some(incarnation) => answered(state.limits.ask(Question::Retire { name: word("site"), incarnation }).await),
            None => failure("`incarnation` is a whole number"),
        },
        "found" => answered(state.limits.ask(Question::Found).await),
        "reload" => {
            blocking(state, |state| {
                let (reply, receiver) = bounded(1);
                ask_supervisor(&state, Request::Reload(reply))?;
                let said = receiver.recv_timeout(SUPERVISOR_WAIT).map_err(|_| "no answer in time".to_owned())?;
                Ok(json!({ "changes": said? }))
            })
            .await
        }
        "undrain" => {
            blocking(state, |state| {
                let (reply, receiver) = bounded(1);
                ask_supervisor(&state, Request::Undrain(reply))?;
                receiver.recv_timeout(SUPERVISOR_WAIT).map_err(|_| "no answer in time".to_owned())??;
                Ok(json!({}))
            })
            .await
        }
        "drain" => {
            let stop = request["stop"].as_bool().unwrap_or(false);
            blocking(state, move |state| {
                ask_supervisor(&state, Request::Drain { stop })?;
                Ok(json!({}))
            })
            .await
        }
        _ => failure("unknown command"),
    }
}

async fn answer_show(request: &Value, state: &Arc<State>) -> Value {
    let Some(what) = What::parse(request["what"].as_str().unwrap_or_default()) else {
        return failure("nothing of that name to show");
    };
    let limit = request["limit"].as_u64().and_then(|limit| usize::try_from(limit).ok()).unwrap_or(ROWS_MAX);
    let limit = limit.clamp(1, ROWS_MAX);
    if let Some(account) = request["account"].as_str() {
        return answered(shown(state, account).await);
    }
    let linked = state.limits.links.is_some();
    let question = match what {
        What::Calls if request["all_sites"] == true => Some(Question::Calls { limit }),
        What::Links if linked => Some(Question::Links),
        What::Limits if linked => Some(Question::Limits { limit }),
        _ => None,
    };
    if let Some(question) = question {
        let trunks = matches!(question, Question::Limits { .. });
        let mut answer = answered(state.limits.ask(question).await);
        if let (true, Some(rows)) = (trunks, answer["rows"].as_array_mut()) {
            let all = blocking(state, |state| Ok(show(&state, What::Limits, ROWS_MAX))).await;
            let all = all["rows"].as_array().into_iter().flatten();
            rows.extend(all.filter(|row| row["of"] == "trunk").cloned());
        }
        return answer;
    }
    blocking(state, move |state| Ok(show(&state, what, limit))).await
}

/// One account's limit.
async fn shown(state: &State, account: &str) -> Result<Value, String> {
    match state.limits.account(&state.node, account).await? {
        Some(limit) => Ok(json!({ "limit": limit })),
        None => Err(format!("no account \"{account}\"; `strowger show limits` lists them")),
    }
}

fn answered(answer: Result<Value, String>) -> Value {
    match answer {
        Ok(mut value) => {
            if let Some(object) = value.as_object_mut() {
                object.insert("ok".into(), true.into());
            }
            value
        }
        Err(error) => failure(error),
    }
}

fn ask_supervisor(state: &State, request: Request) -> Result<(), String> {
    state.requests.try_send(request).map_err(|_| "the process is busy with earlier requests, or ending".to_owned())
}

/// Runs what waits for shards outside the runtime's thread.
async fn blocking(
    state: &Arc<State>,
    work: impl FnOnce(Arc<State>) -> Result<Value, String> + Send + 'static,
) -> Value {
    let state = Arc::clone(state);
    match tokio::task::spawn_blocking(move || work(state)).await {
        Ok(answer) => answered(answer),
        Err(_) => failure("the request failed inside; see the log"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::state::tests::state;
    use super::*;
    use std::io::{BufRead, Write};

    fn ask(path: &Path, request: &str) -> Value {
        let mut stream = std::os::unix::net::UnixStream::connect(path).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        stream.write_all(b"\n").unwrap();
        let mut line = String::new();
        std::io::BufReader::new(stream).read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap()
    }

    #[test]
    fn requests_are_answered_one_line_each() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("strowger.sock");
        let listener = bind(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(bind(&path).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        let (state, requests) = state();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let _server = std::thread::spawn(move || {
            runtime.block_on(async { serve(UnixListener::from_std(listener).unwrap(), state).await });
        });
        let shown = ask(&path, r#"{"command":"show","what":"shards"}"#);
        assert_eq!((shown["ok"].as_bool(), shown["rows"][1]["calls"].as_u64()), (Some(true), Some(4)));
        let call = "call_s010000000000000000";
        assert_eq!(ask(&path, &format!(r#"{{"command":"hangup","call":"{call}00000001"}}"#))["ok"], true);
        let missing = ask(&path, &format!(r#"{{"command":"hangup","call":"{call}00000002"}}"#));
        assert!(missing["error"].as_str().is_some_and(|error| error.starts_with("no call ")));
        assert_eq!(ask(&path, r#"{"command":"drain","stop":true}"#)["ok"], true);
        assert!(matches!(requests.recv().unwrap(), Request::Drain { stop: true }));
        let reload = std::thread::spawn({
            let path = path.clone();
            move || ask(&path, r#"{"command":"reload"}"#)
        });
        let Request::Reload(reply) = requests.recv().unwrap() else { panic!("not a reload") };
        reply.send(Ok(vec!["~ sip.t1".into()])).unwrap();
        assert_eq!(reload.join().unwrap()["changes"][0], "~ sip.t1");
        let limit = ask(&path, r#"{"command":"show","what":"limits","account":"alice"}"#);
        assert_eq!(limit["limit"]["usable"], 3);
        let alone = ask(&path, r#"{"command":"retire","site":"b","incarnation":1}"#);
        assert!(alone["error"].as_str().is_some_and(|error| error.starts_with("this node decides alone")));
        assert_eq!(ask(&path, r#"{"command":"unblock","source":"192.0.2.7"}"#)["ok"], true);
        let spared = ask(&path, r#"{"command":"unblock","source":"192.0.2.8"}"#);
        assert!(spared["error"].as_str().is_some_and(|error| error.starts_with("192.0.2.8 is neither blocked")));
        assert!(ask(&path, r#"{"command":"unblock","source":"x"}"#)["error"].as_str().is_some());
        assert_eq!(ask(&path, "nonsense")["error"], "not JSON");
        assert_eq!(ask(&path, &"x".repeat(5_000))["ok"], false);
    }

    #[test]
    fn a_dead_socket_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("strowger.sock");
        drop(bind(&path).unwrap());
        assert!(path.exists() && bind(&path).is_ok());
    }
}
