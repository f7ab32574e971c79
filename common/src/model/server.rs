//! Addresses of Kubernetes API servers, as far as it takes to tell whether two of them are the same.

use std::str::FromStr;

use url::Url;

/// The port of an address that names none.
const PORT_DEFAULT: u16 = 443;
/// Longest address.
const ADDRESS_MAX_BYTES: usize = 2_048;
/// What every address begins with.
const SCHEME: &str = "https://";

/// The address of an API server; two spellings of the same address are equal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerAddress {
    host: String,
    port: u16,
    path: String,
}

/// Why an address was refused. Never repeats it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("must be like https://cluster.example.com:6443, without a user name, a query or a fragment")]
pub struct ServerAddressError;

impl FromStr for ServerAddress {
    type Err = ServerAddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_plain = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'\\' | b'@' | b'?' | b'#');
        let is_plain = text.len() <= ADDRESS_MAX_BYTES && text.bytes().all(is_plain);
        let (scheme, rest) = text.split_at_checked(SCHEME.len()).ok_or(ServerAddressError)?;
        if !is_plain || !scheme.eq_ignore_ascii_case(SCHEME) || rest.starts_with(['/', ':']) {
            return Err(ServerAddressError);
        }
        let url = Url::parse(text).map_err(|_| ServerAddressError)?;
        Ok(Self {
            host: url.host_str().ok_or(ServerAddressError)?.to_owned(),
            port: url.port().unwrap_or(PORT_DEFAULT),
            path: url.path().trim_end_matches('/').to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<ServerAddress, ServerAddressError> {
        text.parse()
    }

    #[test]
    fn spellings_of_one_address_are_told_from_others() {
        let cases = [
            ("https://k.example", "https://k.example", true),
            ("https://k.example/", "https://k.example", true),
            ("https://k.example:443", "https://k.example/", true),
            ("HTTPS://K.Example", "https://k.example:443/", true),
            ("https://k.example:6443/", "https://k.example:6443", true),
            ("https://[2001:DB8::1]:6443", "https://[2001:db8:0::1]:6443/", true),
            ("https://k.example/clusters/a/", "https://k.example/clusters/a", true),
            ("https://k.example", "https://k.example:6443", false),
            ("https://k.example", "https://l.example", false),
            ("https://k.example", "https://k.example.com", false),
            ("https://k.example/clusters/a", "https://k.example/clusters/b", false),
            ("https://k.example/clusters/a", "https://k.example/clusters/A", false),
            ("https://k.example/clusters/a", "https://k.example", false),
            ("https://127.0.0.1:6443", "https://localhost:6443", false),
        ];
        for (one, other, same) in cases {
            let (left, right) = (parse(one).unwrap(), parse(other).unwrap());
            assert_eq!(left == right, same, "{one} and {other}");
        }
    }

    #[test]
    fn what_is_no_plain_https_address_is_refused() {
        let long = format!("https://{}", "k".repeat(ADDRESS_MAX_BYTES));
        for bad in [
            "",
            "k.example",
            "k.example:6443",
            "http://k.example",
            "https:",
            "https:k.example",
            "https://",
            "https:///k.example",
            "https://:6443",
            "https://k.example:x",
            "https://k.example:70000",
            "https://ada@k.example",
            "https://k.example@l.example",
            "https://k.example?a=b",
            "https://k.example/#a",
            "https://k.example\\a",
            " https://k.example",
            "https://k.example\n",
            "https://k.exämple",
            &long,
        ] {
            assert_eq!(parse(bad), Err(ServerAddressError), "{bad}");
        }
    }
}
