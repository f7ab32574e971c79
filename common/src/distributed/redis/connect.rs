//! Finding the primary and connecting to it: one address, or whatever most sentinels say; never a replica.

use std::cmp::Reverse;
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt as _};
use redis::aio::MultiplexedConnection;
use redis::io::tcp::TcpSettings;
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo as _,
    RedisConnectionInfo, RedisError, RedisResult, TlsCertificates, Value,
};
use secrecy::ExposeSecret as _;

use super::fault::{RedisFault, Verdict};
use crate::distributed::RedisSettings;

/// Requests that may be on their way at once before callers wait.
const PIPELINE_BUFFER: usize = 1_024;
/// Part of the time for connecting for which sentinels are waited for: one half.
const SENTINEL_SHARE: u32 = 2;
const SENTINEL_PORT_DEFAULT: u16 = 26_379;
/// The only policy under which Redis keeps what it was given.
const POLICY_WANTED: &str = "noeviction";

/// A connection to the primary, which has been looked at, and a client for further ones to the same server.
pub(super) async fn open(settings: &RedisSettings) -> Result<(Client, MultiplexedConnection), RedisFault> {
    let attempt = async {
        let mut last = RedisFault::Away { reason: "there is no address".to_owned() };
        for info in candidates(settings).await? {
            match open_at(settings, info).await {
                Ok(open) => return Ok(open),
                Err(fault) => last = fault,
            }
        }
        Err(last)
    };
    let limit_ms = settings.connect_timeout.as_millis();
    let late = || Err(RedisFault::Away { reason: format!("no connection within {limit_ms} ms") });
    tokio::time::timeout(settings.connect_timeout, attempt).await.unwrap_or_else(|_| late())
}

async fn open_at(
    settings: &RedisSettings,
    info: ConnectionInfo,
) -> Result<(Client, MultiplexedConnection), RedisFault> {
    let client = client(settings, info).map_err(|error| away(&error))?;
    let opened = client.get_multiplexed_async_connection_with_config(&config(settings)).await;
    let mut connection = opened.map_err(|error| away(&error))?;
    inspect(&mut connection, settings.connect_timeout).await?;
    Ok((client, connection))
}

/// Whether the server may be used: a primary that throws nothing away.
pub(super) async fn inspect(
    connection: &mut MultiplexedConnection,
    limit: Duration,
) -> Result<(), RedisFault> {
    let mut ask = redis::pipe();
    ask.cmd("ROLE").cmd("INFO").arg("memory");
    let answer = tokio::time::timeout(limit, ask.query_async::<(Value, String)>(connection)).await;
    let answer = answer.map_err(|_| Verdict::silent(limit.as_millis()).fault)?;
    let (role, memory) = answer.map_err(|error| away(&error))?;
    if let Some(role) = role_of(role).filter(|role| role != "master") {
        return Err(RedisFault::Away { reason: format!("the server is no primary, its role is `{role}`") });
    }
    let policy = memory.lines().find_map(|line| line.strip_prefix("maxmemory_policy:")).map(str::trim);
    match policy {
        Some(POLICY_WANTED) | None => Ok(()),
        Some(policy) => Err(RedisFault::Misfit {
            reason: format!("its setting `maxmemory-policy` is `{policy}`; it must be `{POLICY_WANTED}`"),
        }),
    }
}

/// Whether the sentinels, if there are any and they answer, still name the server in use.
pub(super) async fn still_named(settings: &RedisSettings, info: &ConnectionInfo) -> Result<(), RedisFault> {
    if settings.sentinels.is_empty() {
        return Ok(());
    }
    // Sentinels that are away are no reason to leave a primary that works.
    let Ok(named) = ask_sentinels(settings, info).await else { return Ok(()) };
    match named.into_iter().next() {
        Some((host, port)) if at(info.addr(), host.clone(), port) != *info.addr() => {
            Err(RedisFault::Away { reason: format!("the sentinels name another primary, {host}:{port}") })
        }
        Some(_) | None => Ok(()),
    }
}

fn role_of(value: Value) -> Option<String> {
    let Value::Array(parts) = value else { return None };
    redis::from_redis_value(parts.into_iter().next()?).ok()
}

fn client(settings: &RedisSettings, info: ConnectionInfo) -> RedisResult<Client> {
    let secure = matches!(info.addr(), ConnectionAddr::TcpTls { .. });
    match &settings.ca_pem {
        Some(pem) if secure => {
            Client::build_with_tls(info, TlsCertificates { client_tls: None, root_cert: Some(pem.clone()) })
        }
        Some(_) | None => Client::open(info),
    }
}

fn config(settings: &RedisSettings) -> AsyncConnectionConfig {
    AsyncConnectionConfig::new()
        .set_connection_timeout(Some(settings.connect_timeout))
        .set_response_timeout(Some(settings.response_timeout))
        .set_pipeline_buffer_size(PIPELINE_BUFFER)
}

fn away(error: &RedisError) -> RedisFault {
    RedisFault::Away { reason: error.to_string() }
}

/// The address in the settings, with login and database.
fn configured(settings: &RedisSettings) -> Result<ConnectionInfo, RedisFault> {
    let info = settings.url.expose_secret().into_connection_info().map_err(|_| RedisFault::Misfit {
        reason: "the setting `redis.url` is no address of a Redis".to_owned(),
    })?;
    let mut login = info.redis_settings().clone();
    if let Some((user, password)) = &settings.login {
        login = RedisConnectionInfo::default()
            .set_db(login.db())
            .set_protocol(login.protocol())
            .set_password(password.expose_secret());
        if !user.is_empty() {
            login = login.set_username(user);
        }
    }
    Ok(info
        .set_redis_settings(login.set_skip_set_lib_name())
        .set_tcp_settings(TcpSettings::default().set_nodelay(true)))
}

/// The same kind of address (with or without TLS) at another host.
fn at(model: &ConnectionAddr, host: String, port: u16) -> ConnectionAddr {
    if let ConnectionAddr::TcpTls { insecure, .. } = model {
        return ConnectionAddr::TcpTls { host, port, insecure: *insecure, tls_params: None };
    }
    ConnectionAddr::Tcp(host, port)
}

/// The addresses at which the primary may be, the likeliest first.
async fn candidates(settings: &RedisSettings) -> Result<Vec<ConnectionInfo>, RedisFault> {
    let info = configured(settings)?;
    if settings.sentinels.is_empty() {
        return Ok(vec![info]);
    }
    let named = ask_sentinels(settings, &info).await?;
    Ok(named.into_iter().map(|(host, port)| info.clone().set_addr(at(info.addr(), host, port))).collect())
}

/// What the sentinels name as primary, most votes first. Ends early once most of them agree.
async fn ask_sentinels(
    settings: &RedisSettings,
    info: &ConnectionInfo,
) -> Result<Vec<(String, u16)>, RedisFault> {
    let asked = settings.sentinels.iter().map(|sentinel| ask_sentinel(settings, info, sentinel));
    let mut asked: FuturesUnordered<_> = asked.collect();
    let mut votes: Vec<((String, u16), usize)> = Vec::new();
    let mut reason = "no sentinel answered in time".to_owned();
    let count = async {
        while let Some(answer) = asked.next().await {
            match answer {
                Ok(named) => {
                    if vote(&mut votes, named) * 2 > settings.sentinels.len() {
                        return;
                    }
                }
                Err(fault) => reason = fault.to_string(),
            }
        }
    };
    // In time or not: what was counted until then decides.
    drop(tokio::time::timeout(settings.connect_timeout / SENTINEL_SHARE, count).await);
    votes.sort_by_key(|(_, count)| Reverse(*count));
    if votes.is_empty() {
        let reason = format!("the sentinels name no primary called `{}`: {reason}", settings.master_name);
        return Err(RedisFault::Away { reason });
    }
    Ok(votes.into_iter().map(|(address, _)| address).collect())
}

/// Counts a vote; answers how many the address has.
fn vote(votes: &mut Vec<((String, u16), usize)>, named: (String, u16)) -> usize {
    if let Some((_, count)) = votes.iter_mut().find(|(other, _)| *other == named) {
        *count += 1;
        return *count;
    }
    votes.push((named, 1));
    1
}

/// Asks one sentinel, without a login first: they rarely have one.
async fn ask_sentinel(
    settings: &RedisSettings,
    info: &ConnectionInfo,
    sentinel: &str,
) -> Result<(String, u16), RedisFault> {
    let (host, port) = host_and_port(sentinel);
    let addressed = info.clone().set_addr(at(info.addr(), host, port));
    let anonymous = RedisConnectionInfo::default().set_skip_set_lib_name();
    let known = info.redis_settings().clone().set_db(0);
    let mut last = RedisFault::Away { reason: format!("sentinel {sentinel} wants a login") };
    for login in [anonymous, known] {
        match name_primary(settings, addressed.clone().set_redis_settings(login)).await {
            Ok(Some(named)) => return Ok(named),
            Ok(None) => {
                return Err(RedisFault::Away { reason: format!("sentinel {sentinel} does not know it") });
            }
            Err(error) => last = away(&error),
        }
    }
    Err(last)
}

async fn name_primary(
    settings: &RedisSettings,
    sentinel: ConnectionInfo,
) -> RedisResult<Option<(String, u16)>> {
    let client = client(settings, sentinel)?;
    let mut connection = client.get_multiplexed_async_connection_with_config(&config(settings)).await?;
    let mut ask = redis::cmd("SENTINEL");
    ask.arg("get-master-addr-by-name").arg(&settings.master_name);
    ask.query_async(&mut connection).await
}

fn host_and_port(address: &str) -> (String, u16) {
    let bare = |host: &str| host.trim_start_matches('[').trim_end_matches(']').to_owned();
    let parts = address.rsplit_once(':').and_then(|(host, port)| Some((bare(host), port.parse().ok()?)));
    parts.unwrap_or_else(|| (bare(address), SENTINEL_PORT_DEFAULT))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentinels_are_named_with_or_without_a_port() {
        assert_eq!(host_and_port("one:5000"), ("one".to_owned(), 5_000));
        assert_eq!(host_and_port("one"), ("one".to_owned(), SENTINEL_PORT_DEFAULT));
        assert_eq!(host_and_port("[::1]:5000"), ("::1".to_owned(), 5_000));
    }

    #[test]
    fn votes_are_counted_for_each_address() {
        let (one, two) = (("one".to_owned(), 1), ("two".to_owned(), 1));
        let mut votes = Vec::new();
        assert_eq!(vote(&mut votes, one.clone()), 1);
        assert_eq!(vote(&mut votes, two), 1);
        assert_eq!(vote(&mut votes, one), 2);
    }
}
