//! Redis: what was written survives, what is frozen is silent, and sentinels find another primary.

use std::time::Duration;

use slipway_integration_tests::redis_server::{RedisOptions, RedisSentinel, RedisServer};

#[tokio::test(flavor = "multi_thread")]
async fn a_server_keeps_what_was_written() {
    let server = RedisServer::start(RedisOptions::default()).await.expect("it starts");
    server.command(&["SET", "key", "value"]).await.unwrap();
    server.kill().await.unwrap();
    assert!(server.command(&["PING"]).await.is_err(), "a killed server answers");
    server.start_again().await.expect("it starts again");
    assert_eq!(server.text(&["GET", "key"]).await.unwrap().as_deref(), Some("value"));
    server.stop().await.unwrap();
    server.start_again().await.expect("it starts a third time");
    assert_eq!(server.text(&["GET", "key"]).await.unwrap().as_deref(), Some("value"));

    server.freeze().await.unwrap();
    let asked = tokio::time::timeout(Duration::from_millis(300), server.command(&["PING"])).await;
    assert!(asked.is_err(), "a frozen server answers: {asked:?}");
    server.thaw().unwrap();
    server.command(&["PING"]).await.unwrap();

    server.config_set("maxmemory-policy", "allkeys-lru").await.unwrap();
    let memory = server.text(&["INFO", "memory"]).await.unwrap().unwrap();
    assert!(memory.contains("maxmemory_policy:allkeys-lru"));
    server.flush_all().await.unwrap();
    assert_eq!(server.text(&["GET", "key"]).await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_is_asked_for_and_a_dump_holds_everything() {
    let options = RedisOptions {
        password: Some("canary-password".to_owned()),
        append_only: false,
        ..RedisOptions::default()
    };
    let server = RedisServer::start(options).await.expect("it starts");
    let stranger = redis::Client::open(format!("redis://{}/", server.address())).unwrap();
    let refused = stranger.get_multiplexed_async_connection().await;
    let refused = match refused {
        Ok(mut connection) => redis::cmd("GET").arg("key").exec_async(&mut connection).await.is_err(),
        Err(_) => true,
    };
    assert!(refused, "a stranger is let in");
    let command_line = std::fs::read_to_string(format!("/proc/{}/cmdline", server.pid())).unwrap();
    assert!(command_line.contains("redis-server") && !command_line.contains("canary-password"));

    for words in [
        &["SET", "a", "canary-string"][..],
        &["HSET", "b", "field", "canary-hash"],
        &["RPUSH", "c", "canary-list"],
        &["SADD", "d", "canary-set"],
        &["ZADD", "e", "1", "canary-sorted"],
        &["XADD", "f", "*", "field", "canary-stream"],
    ] {
        server.command(words).await.unwrap();
    }
    let mut dump = server.dump().await.unwrap();
    dump.sort();
    let kinds = ["string", "hash", "list", "set", "sorted", "stream"];
    assert_eq!(dump.len(), kinds.len());
    for ((key, value), kind) in dump.iter().zip(kinds) {
        let text = String::from_utf8_lossy(value);
        assert!(text.contains(&format!("canary-{kind}")), "{key} holds {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sentinels_find_another_primary() {
    let pair = RedisSentinel::start().await.expect("it starts");
    assert_eq!(pair.sentinel_urls().len(), 3);
    let first = pair.primary().await.unwrap();
    first.command(&["SET", "key", "value"]).await.unwrap();
    assert!(first.text(&["WAIT", "1", "5000"]).await.unwrap().as_deref() == Some("1"), "no replica");

    let second = pair.failover().await.expect("the replica becomes the primary");
    assert_ne!(second.port(), first.port());
    assert_eq!(second.text(&["GET", "key"]).await.unwrap().as_deref(), Some("value"));
    pair.wait_settled().await.expect("the old primary follows");
    assert!(first.command(&["SET", "key", "other"]).await.is_err(), "the old primary still takes writes");

    let third = pair.kill_primary().await.expect("the other becomes the primary");
    assert_eq!(third.port(), first.port());
    assert_eq!(third.text(&["GET", "key"]).await.unwrap().as_deref(), Some("value"));
    third.command(&["SET", "key", "newer"]).await.unwrap();
}
