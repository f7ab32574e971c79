//! Tests of the connection: silence, restarts, policies, logins, and a failover under Sentinel.

use std::path::Path;
use std::time::{Duration, Instant};

use redis::Value;
use secrecy::SecretString;
use tokio::process::{Child, Command};

use super::{Redis, RedisFault, RedisState, Repeat, Script};
use crate::contract::eventually;
use crate::distributed::store::tests::fixture::settings;
use crate::distributed::testing::{self, free_port, make_certificate};

static COUNT: Script = Script::new("return redis.call('INCR', KEYS[1])", Repeat::Unsafe);
static PUT: Script = Script::new("return redis.call('SET', KEYS[1], ARGV[1])", Repeat::Safe);

/// A server of our own, with these lines as its configuration. It ends with the test.
fn serve(folder: &Path, name: &str, sentinel: bool, lines: &[String]) -> Child {
    let file = folder.join(format!("{name}.conf"));
    std::fs::write(&file, lines.join("\n")).expect("a configuration");
    let mut command = Command::new("redis-server");
    command
        .arg(&file)
        .args(sentinel.then_some("--sentinel"))
        .current_dir(folder)
        .stdin(std::process::Stdio::null());
    command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
    command.kill_on_drop(true).spawn().expect("the server starts")
}

fn lines(port: u16, further: &[&str]) -> Vec<String> {
    let mut lines = vec![format!("port {port}"), "bind 127.0.0.1".to_owned(), "save \"\"".to_owned()];
    lines.extend(further.iter().map(|line| (*line).to_owned()));
    lines
}

async fn put(redis: &Redis, value: u64) -> Result<Value, RedisFault> {
    redis.script(&PUT, &[redis.key("value")], value).await
}

async fn count(redis: &Redis) -> Result<u64, RedisFault> {
    redis.ask(&COUNT, &[redis.key("count")], "").await
}

async fn works(redis: &Redis) {
    eventually("Redis working", || async { redis.check().await.ok() }).await;
}

/// F7: a server that is silent delays nobody beyond the deadline, and soon nobody at all.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_server_delays_nobody_for_long() {
    let server = testing::redis().await;
    let redis = Redis::new(settings(server.url()));
    put(&redis, 1).await.expect("it works");
    server.freeze().await;
    let mut longest = Duration::ZERO;
    for attempt in 0..8 {
        let begun = Instant::now();
        let answer = put(&redis, 2).await;
        assert!(matches!(answer, Err(RedisFault::Away { .. })), "a frozen server gave {answer:?}");
        let took = begun.elapsed();
        assert!(took < Duration::from_millis(if attempt == 0 { 1_500 } else { 400 }), "{attempt}: {took:?}");
        longest = longest.max(took);
    }
    assert!(matches!(redis.state(), RedisState::Away { .. }));
    server.thaw().await;
    let thawed = Instant::now();
    works(&redis).await;
    assert!(thawed.elapsed() < Duration::from_secs(5), "back after {:?}", thawed.elapsed());
    assert_eq!(redis.state(), RedisState::Ready);
}

/// A restart between two calls is not noticed; the script is unknown to the new server and sent in full.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_is_bridged() {
    let server = testing::redis().await;
    let redis = Redis::new(settings(server.url()));
    assert_eq!(count(&redis).await, Ok(1));
    server.kill().await;
    let away = count(&redis).await;
    assert!(matches!(away, Err(RedisFault::Away { .. })), "a dead server gave {away:?}");
    server.start_again().await;
    works(&redis).await;
    assert_eq!(count(&redis).await, Ok(1), "an empty server counts from the beginning");
    server.kill().await;
    server.start_again().await;
    put(&redis, 3).await.expect("what may be repeated is repeated");
}

/// What may not be repeated is not, when nobody knows whether it ran.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_may_have_run_is_not_sent_again() {
    let server = testing::redis().await;
    let redis = Redis::new(settings(server.url()));
    assert_eq!(count(&redis).await, Ok(1));
    server.control("CLIENT KILL TYPE normal").await;
    let (once, then) = (count(&redis).await, count(&redis).await);
    let value = then.expect("it works again");
    assert_eq!(value, if once.is_ok() { 3 } else { 2 }, "the first gave {once:?}");
}

/// D12: a policy that evicts is refused by name, and the refusal ends with the policy.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_evicting_policy_is_refused_until_it_is_corrected() {
    let server = testing::redis().await;
    server.control("CONFIG SET maxmemory-policy allkeys-lru").await;
    let redis = Redis::new(settings(server.url()));
    let refused = put(&redis, 1).await.expect_err("it must not be used");
    assert!(matches!(refused, RedisFault::Misfit { .. }), "{refused:?}");
    let text = refused.to_string();
    assert!(text.contains("maxmemory-policy") && text.contains("allkeys-lru"), "{text}");
    assert!(matches!(redis.state(), RedisState::Misfit { .. }));
    server.control("CONFIG SET maxmemory-policy noeviction").await;
    works(&redis).await;
    put(&redis, 1).await.expect("it works");
    server.control("CONFIG SET maxmemory-policy volatile-ttl").await;
    let looked = redis.check().await.expect_err("a change is seen");
    assert!(looked.to_string().contains("volatile-ttl"), "{looked}");
    assert!(put(&redis, 2).await.is_err());
    server.control("CONFIG SET maxmemory-policy noeviction").await;
    works(&redis).await;
}

/// A full server refuses writes; it is unavailable, not corrupt, and the connection stays.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_server_is_unavailable() {
    let server = testing::redis().await;
    let redis = Redis::new(settings(server.url()));
    put(&redis, 1).await.expect("it works");
    server.control("CONFIG SET maxmemory 1").await;
    let full = put(&redis, 2).await;
    assert!(matches!(full, Err(RedisFault::Away { .. })), "a full server gave {full:?}");
    server.control("CONFIG SET maxmemory 0").await;
    put(&redis, 3).await.expect("it works again");
}

/// The login of the settings replaces that of the address, and no secret is ever told.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn logins_are_used_and_not_told() {
    let server = testing::redis().await;
    server.control("ACL SETUSER slipway on >correct-horse ~* &* +@all").await;
    server.control("ACL SETUSER default off").await;
    let mut with = settings(server.url().replace("redis://", "redis://slipway:battery-staple@"));
    let wrong = Redis::new(with.clone());
    let refused = put(&wrong, 1).await.expect_err("the password is wrong");
    assert!(matches!(refused, RedisFault::Away { .. }), "{refused:?}");
    for told in [format!("{refused:?} {refused}"), format!("{wrong:?} {:?} {with:?}", wrong.state())] {
        assert!(!told.contains("battery-staple"), "{told}");
    }
    with.login = Some(("slipway".to_owned(), SecretString::from("correct-horse")));
    let right = Redis::new(with);
    put(&right, 1).await.expect("the login of the settings counts");
}

/// kill -9: what was written a second ago is on the disk of a server that keeps a log.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_with_a_log_comes_back_with_everything() {
    let folder = tempfile::tempdir().expect("a folder");
    let port = free_port();
    let conf = lines(port, &["appendonly yes", "appendfsync always"]);
    let mut server = serve(folder.path(), "aof", false, &conf);
    let redis = Redis::new(settings(format!("redis://127.0.0.1:{port}/0")));
    works(&redis).await;
    for expected in 1..=50 {
        assert_eq!(count(&redis).await, Ok(expected));
    }
    server.kill().await.expect("it dies");
    assert!(count(&redis).await.is_err());
    let _again = serve(folder.path(), "aof", false, &conf);
    works(&redis).await;
    assert_eq!(count(&redis).await, Ok(51));
}

/// F8: after a failover the new primary is written to within five seconds.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failover_is_followed() {
    let folder = tempfile::tempdir().expect("a folder");
    let (one, two, sentinel) = (free_port(), free_port(), free_port());
    let _one = serve(folder.path(), "one", false, &lines(one, &[]));
    let replica = format!("replicaof 127.0.0.1 {one}");
    let _two = serve(folder.path(), "two", false, &lines(two, &[&replica]));
    let mut direct = settings(format!("redis://127.0.0.1:{one}/0"));
    works(&Redis::new(direct.clone())).await;
    let monitor = format!("sentinel monitor slipway 127.0.0.1 {one} 1");
    let watch = ["sentinel down-after-milliseconds slipway 1000", "sentinel failover-timeout slipway 3000"];
    let conf = [format!("port {sentinel}"), "bind 127.0.0.1".to_owned(), monitor, watch.join("\n")];
    let _sentinel = serve(folder.path(), "sentinel", true, &conf);
    // One sentinel of the three in the settings is there: it is enough to find the way.
    direct.sentinels = vec![
        format!("127.0.0.1:{}", free_port()),
        format!("127.0.0.1:{sentinel}"),
        format!("127.0.0.1:{}", free_port()),
    ];
    direct.url = SecretString::from("redis://nowhere.invalid:1/0");
    let redis = Redis::new(direct.clone());
    works(&redis).await;
    put(&redis, 1).await.expect("it works");
    let replica = Redis::new(settings(format!("redis://127.0.0.1:{two}/0")));
    let told = replica.check().await.expect_err("a replica is not written to");
    assert!(told.to_string().contains("no primary"), "{told}");
    failover(sentinel).await;
    // Until the old primary is told to be a replica it takes writes; from then on it answers READONLY.
    eventually("the other one being the primary", || async { replica.check().await.ok() }).await;
    let changed = Instant::now();
    eventually("writing again", || async {
        let written = put(&redis, 2).await.is_ok();
        let (mut get, key) = (redis::cmd("GET"), replica.key("value"));
        let value = replica.command(get.arg(key), Repeat::Safe).await.ok()?;
        (written && value == Value::BulkString(b"2".to_vec())).then_some(())
    })
    .await;
    assert!(changed.elapsed() < Duration::from_secs(5), "it took {:?}", changed.elapsed());
}

/// Asks the sentinel for a failover once it knows the replica.
async fn failover(sentinel: u16) {
    let client = redis::Client::open(format!("redis://127.0.0.1:{sentinel}/")).expect("an address");
    eventually("the failover beginning", || async {
        let mut connection = client.get_multiplexed_async_connection().await.ok()?;
        let mut ask = redis::cmd("SENTINEL");
        ask.arg("FAILOVER").arg("slipway").query_async::<()>(&mut connection).await.ok()
    })
    .await;
}

/// TLS with an authority of one's own, and without trusting it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn secure_connections_are_verified() {
    let folder = tempfile::tempdir().expect("a folder");
    make_certificate(folder.path()).await;
    let port = free_port();
    let secure = format!("tls-port {port}");
    let conf = lines(
        0,
        &[
            &secure,
            "tls-cert-file cert.pem",
            "tls-key-file key.pem",
            "tls-ca-cert-file ca.pem",
            "tls-auth-clients no",
        ],
    );
    let _server = serve(folder.path(), "tls", false, &conf);
    let mut trusting = settings(format!("rediss://127.0.0.1:{port}/0"));
    let distrusting = Redis::new(trusting.clone());
    trusting.ca_pem = Some(std::fs::read(folder.path().join("ca.pem")).expect("a certificate"));
    let redis = Redis::new(trusting);
    works(&redis).await;
    put(&redis, 1).await.expect("it works");
    let mut all = redis::pipe();
    all.cmd("GET").arg(redis.key("value")).cmd("PING");
    assert_eq!(redis.pipeline(&all, Repeat::Safe).await.expect("it works").len(), 2);
    let refused = distrusting.check().await;
    assert!(matches!(refused, Err(RedisFault::Away { .. })), "an unknown authority gave {refused:?}");
}
