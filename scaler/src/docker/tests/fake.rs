//! A stand-in for a Docker engine: containers in memory, reached over the same HTTP. It ignores filters, so that what
//! is left alone is left alone by the scaler's own judgement.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// Largest request.
const REQUEST_MAX_BYTES: usize = 64 * 1024;

/// An engine that ends with the test.
#[derive(Debug)]
pub(crate) struct Fake {
    /// Where it listens.
    pub(crate) host: String,
    state: Arc<Mutex<State>>,
}

/// One container: what it was created from, and how it is.
#[derive(Debug, Clone)]
pub(crate) struct Container {
    pub(crate) id: String,
    pub(crate) name: String,
    /// The engine's word.
    pub(crate) state: &'static str,
    /// The body it was created with.
    pub(crate) body: Value,
}

#[derive(Debug, Default)]
struct State {
    containers: Vec<Container>,
    /// Calls that change something, as method, container's name and what.
    changes: Vec<String>,
    created: u32,
    /// Containers end as soon as they are started.
    exits: bool,
}

impl Fake {
    /// An engine on which these containers are.
    pub(crate) async fn with(containers: Vec<Container>) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let host = format!("tcp://{}", listener.local_addr().unwrap());
        let state = Arc::new(Mutex::new(State { containers, ..State::default() }));
        let served = Arc::clone(&state);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(answer(stream, Arc::clone(&served)));
            }
        });
        Self { host, state }
    }

    /// From now on containers end as soon as they are started.
    pub(crate) fn let_new_ones_exit(&self) {
        lock(&self.state).exits = true;
    }

    pub(crate) fn remove(&self, name: &str) {
        lock(&self.state).containers.retain(|container| container.name != name);
    }

    pub(crate) fn container(&self, name: &str) -> Container {
        lock(&self.state).containers.iter().find(|container| container.name == name).unwrap().clone()
    }

    /// Names of all containers, in order.
    pub(crate) fn names(&self) -> Vec<String> {
        let mut names: Vec<String> =
            lock(&self.state).containers.iter().map(|container| container.name.clone()).collect();
        names.sort();
        names
    }

    /// What was changed so far.
    pub(crate) fn changes(&self) -> Vec<String> {
        lock(&self.state).changes.clone()
    }
}

impl Container {
    fn summary(&self) -> Value {
        json!({
            "Id": self.id, "Names": [format!("/{}", self.name)], "State": self.state,
            "Labels": self.body["Labels"],
        })
    }

    fn inspected(&self) -> Value {
        let mut networks = json!({});
        if let Some(network) = self.body["HostConfig"]["NetworkMode"].as_str() {
            networks[network] = json!({"IPAddress": "127.0.0.1"});
        }
        json!({
            "Id": self.id, "Name": format!("/{}", self.name), "Image": self.body["Image"],
            "Config": {
                "Env": self.body["Env"], "ExposedPorts": self.body["ExposedPorts"], "Labels": self.body["Labels"],
            },
            "HostConfig": self.body["HostConfig"],
            "NetworkSettings": {"Networks": networks},
            "State": {
                "Status": self.state, "Running": self.state == "running", "ExitCode": 3,
                "StartedAt": "2026-11-27T12:00:00Z",
            },
        })
    }
}

impl State {
    fn answer(&mut self, method: &str, path: &[&str], query: &str, body: &Value) -> (u16, Value) {
        match (method, path) {
            ("GET", ["containers", "json"]) => {
                (200, self.containers.iter().map(Container::summary).collect())
            }
            ("POST", ["containers", "create"]) => self.create(parameter(query, "name"), body),
            ("GET", ["containers", id, "json"]) => match self.position(id) {
                Some(place) => (200, self.containers[place].inspected()),
                None => none(),
            },
            ("POST", ["containers", id, what]) => self.change(id, what, query, body),
            ("DELETE", ["containers", id]) => self.delete(id, parameter(query, "force") == "true"),
            _ => none(),
        }
    }

    fn position(&self, id: &str) -> Option<usize> {
        self.containers.iter().position(|container| container.id == id || container.name == id)
    }

    fn create(&mut self, name: &str, body: &Value) -> (u16, Value) {
        self.changes.push(format!("create {name}"));
        if self.position(name).is_some() {
            return (409, json!({"message": "the name is in use"}));
        }
        self.created += 1;
        let id = format!("new-{}", self.created);
        self.containers.push(Container {
            id: id.clone(),
            name: name.to_owned(),
            state: "created",
            body: body.clone(),
        });
        (201, json!({"Id": id, "Warnings": []}))
    }

    fn change(&mut self, id: &str, what: &str, query: &str, body: &Value) -> (u16, Value) {
        let Some(place) = self.position(id) else { return none() };
        let exits = self.exits;
        let container = &mut self.containers[place];
        self.changes.push(format!("{what} {}", container.name));
        match what {
            "start" => container.state = if exits { "exited" } else { "running" },
            "stop" => container.state = "exited",
            "rename" => container.name = parameter(query, "name").to_owned(),
            "update" => container.body["HostConfig"]["RestartPolicy"] = body["RestartPolicy"].clone(),
            _ => return none(),
        }
        (204, Value::Null)
    }

    fn delete(&mut self, id: &str, force: bool) -> (u16, Value) {
        let Some(place) = self.position(id) else { return none() };
        self.changes.push(format!("remove {}", self.containers[place].name));
        if !force && self.containers[place].state == "running" {
            return (409, json!({"message": "it runs"}));
        }
        self.containers.remove(place);
        (204, Value::Null)
    }
}

fn none() -> (u16, Value) {
    (404, json!({"message": "there is none"}))
}

fn parameter<'a>(query: &'a str, name: &str) -> &'a str {
    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs.find(|(key, _)| *key == name).map_or("", |(_, value)| value)
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Answers one request, and closes the connection.
async fn answer(mut stream: TcpStream, state: Arc<Mutex<State>>) {
    let Some((method, target, body)) = request(&mut stream).await else { return };
    let (path, query) = target.split_once('?').unwrap_or((target.as_str(), ""));
    let all: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let path = all.strip_prefix(&["v1.53"]).unwrap_or(all.as_slice());
    let text = if let ["containers", _, "stats"] = path {
        // One reading, and the stream ends.
        let reading = json!({
            "cpu_stats": {"cpu_usage": {"total_usage": 2_500_000_000_u64}, "online_cpus": 2},
            "memory_stats": {"usage": 1_000, "limit": 2_000},
        });
        format!("HTTP/1.1 200 -\r\ncontent-type: application/json\r\nconnection: close\r\n\r\n{reading}\n")
    } else {
        let (status, value) = lock(&state).answer(&method, path, query, &body);
        let body = if status == 204 { String::new() } else { value.to_string() };
        let length = body.len();
        format!("HTTP/1.1 {status} -\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}")
    };
    stream.write_all(text.as_bytes()).await.ok();
    stream.shutdown().await.ok();
}

/// Method, target and body of a request.
async fn request(stream: &mut TcpStream) -> Option<(String, String, Value)> {
    let mut read = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let end = read.windows(4).position(|four| four == b"\r\n\r\n");
        if let Some(end) = end {
            let head = String::from_utf8(read[..end].to_vec()).ok()?;
            let length = head.lines().find_map(|line| {
                let (key, value) = line.split_once(':')?;
                key.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
            });
            let body = &read[end + 4..];
            if body.len() >= length.unwrap_or(0) {
                let mut words = head.lines().next()?.split(' ').map(str::to_owned);
                let body = serde_json::from_slice(body).unwrap_or(Value::Null);
                return Some((words.next()?, words.next()?, body));
            }
        }
        let count = stream.read(&mut buffer).await.ok()?;
        if count == 0 || read.len() > REQUEST_MAX_BYTES {
            return None;
        }
        read.extend_from_slice(&buffer[..count]);
    }
}
