//! What happens to header fields on the way: hop-by-hop ones end here, forwarding ones begin here.

use std::net::{IpAddr, SocketAddr};

use http::{
    HeaderMap, HeaderName, HeaderValue, Uri, Version, header,
    request::Parts,
    uri::{Authority, PathAndQuery},
};

/// Fields that belong to one connection, whatever `Connection` says.
const HOP_BY_HOP: [HeaderName; 9] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// The protocol a message asks to change to, when it does so in earnest. Never HTTP/2: requests inside such
/// a tunnel would escape everything that is decided per request here.
pub(crate) fn upgrade_protocol(headers: &HeaderMap) -> Option<HeaderValue> {
    let asked = connection_options(headers).any(|option| option.eq_ignore_ascii_case("upgrade"));
    let is_http2 = |protocol: &HeaderValue| protocol.as_bytes().to_ascii_lowercase().starts_with(b"h2");
    headers.get(header::UPGRADE).filter(|protocol| asked && !is_http2(protocol)).cloned()
}

/// Removes the hop-by-hop fields, those that `Connection` names included.
pub(crate) fn strip_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = connection_options(headers)
        .filter_map(|option| option.parse().ok())
        .filter(|name| *name != header::HOST)
        .collect();
    for name in named.iter().chain(&HOP_BY_HOP) {
        headers.remove(name);
    }
}

/// Says again that the protocol is to change, after the hop-by-hop fields are gone.
pub(crate) fn set_upgrade(headers: &mut HeaderMap, protocol: HeaderValue) {
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, protocol);
}

fn connection_options(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
}

/// Checks that a request names its host unmistakably.
pub(crate) fn check_host(parts: &Parts) -> Result<(), &'static str> {
    match (parts.headers.get_all(header::HOST).iter().count(), parts.version) {
        (1, _) | (0, Version::HTTP_10) => Ok(()),
        (0, _) => Err("the request has no Host field"),
        _ => Err("the request has more than one Host field"),
    }
}

/// Turns a client's request head into the one a replica gets.
pub(crate) fn prepare_request(
    parts: &mut Parts,
    peer: SocketAddr,
    upstream_name: &str,
    trust_forwarded: bool,
) {
    strip_hop_by_hop(&mut parts.headers);
    // The gateway answers `100 Continue` itself, as soon as the replica's connection takes the body.
    parts.headers.remove(header::EXPECT);
    if let Some(authority) = parts.uri.authority() {
        set_host(&mut parts.headers, authority);
    }
    parts.uri = origin_form(&parts.uri);
    parts.version = Version::HTTP_11;
    set_forwarded(&mut parts.headers, peer.ip().to_canonical(), trust_forwarded);
    if !parts.headers.contains_key(header::HOST)
        && let Ok(host) = HeaderValue::from_str(upstream_name)
    {
        parts.headers.insert(header::HOST, host);
    }
}

/// A request that names its target in full means that target, whatever `Host` says.
fn set_host(headers: &mut HeaderMap, authority: &Authority) {
    let host_and_port = authority.as_str().rsplit_once('@').map_or(authority.as_str(), |(_, host)| host);
    if let Ok(host) = HeaderValue::from_str(host_and_port) {
        headers.insert(header::HOST, host);
    }
}

fn origin_form(uri: &Uri) -> Uri {
    let path = uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
    Uri::from(path)
}

fn set_forwarded(headers: &mut HeaderMap, client: IpAddr, trust: bool) {
    let chain = headers.get_all(&X_FORWARDED_FOR).iter().filter_map(|value| value.to_str().ok());
    let chain: Vec<String> = chain.map(str::to_owned).chain([client.to_string()]).collect();
    if let Ok(value) = HeaderValue::from_str(&chain.join(", ")) {
        headers.insert(X_FORWARDED_FOR, value);
    }
    if !trust {
        for name in [X_FORWARDED_PROTO, X_FORWARDED_HOST, header::FORWARDED] {
            headers.remove(name);
        }
    }
    headers.entry(X_FORWARDED_PROTO).or_insert(HeaderValue::from_static("http"));
    if let Some(host) = headers.get(header::HOST).cloned() {
        headers.entry(X_FORWARDED_HOST).or_insert(host);
    }
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn prepared(request: http::request::Builder, trust: bool) -> Parts {
        let (mut parts, ()) = request.body(()).unwrap().into_parts();
        prepare_request(&mut parts, "192.0.2.7:1234".parse().unwrap(), "10.0.0.1:8080", trust);
        parts
    }

    #[test]
    fn named_and_known_hop_by_hop_fields_are_gone_and_the_rest_stays() {
        let request = Request::get("/a?b=c")
            .header("host", "app.example")
            .header("connection", "keep-alive, X-Secret , host")
            .header("x-secret", "1")
            .header("keep-alive", "timeout=5")
            .header("te", "trailers")
            .header("proxy-authorization", "x")
            .header("x-kept", "2");
        let parts = prepared(request, false);
        let mut names: Vec<_> = parts.headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["host", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-kept"]);
        assert_eq!(parts.headers["host"], "app.example");
        assert_eq!(parts.uri, "/a?b=c");
    }

    #[test]
    fn the_client_is_appended_and_claims_are_replaced_unless_trusted() {
        let request = || {
            Request::get("/")
                .header("host", "app.example")
                .header("x-forwarded-for", "198.51.100.1")
                .header("x-forwarded-proto", "https")
                .header("x-forwarded-host", "front.example")
        };
        let parts = prepared(request(), false);
        assert_eq!(parts.headers["x-forwarded-for"], "198.51.100.1, 192.0.2.7");
        assert_eq!(parts.headers["x-forwarded-proto"], "http");
        assert_eq!(parts.headers["x-forwarded-host"], "app.example");
        let parts = prepared(request(), true);
        assert_eq!(parts.headers["x-forwarded-proto"], "https");
        assert_eq!(parts.headers["x-forwarded-host"], "front.example");
    }

    #[test]
    fn an_absolute_target_decides_the_host() {
        let request = Request::get("http://user@right.example:81/x").header("host", "wrong.example");
        let parts = prepared(request, false);
        assert_eq!(parts.headers["host"], "right.example:81");
        assert_eq!(parts.uri, "/x");
    }

    #[test]
    fn a_missing_host_is_filled_in() {
        assert_eq!(
            prepared(Request::get("/").version(Version::HTTP_10), false).headers["host"],
            "10.0.0.1:8080"
        );
    }

    #[test]
    fn an_upgrade_needs_both_fields_and_is_never_to_http_2() {
        let headers = |connection: &'static str, protocol: &'static str| {
            HeaderMap::from_iter([
                (header::CONNECTION, HeaderValue::from_static(connection)),
                (header::UPGRADE, HeaderValue::from_static(protocol)),
            ])
        };
        assert_eq!(upgrade_protocol(&headers("keep-alive, Upgrade", "websocket")).unwrap(), "websocket");
        assert_eq!(upgrade_protocol(&headers("keep-alive", "websocket")), None);
        assert_eq!(upgrade_protocol(&headers("upgrade", "H2C")), None);
    }
}
