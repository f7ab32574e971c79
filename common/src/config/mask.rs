//! Addresses as they may be shown: without the password in them. Works on text, so that what is no address hides too.

/// What stands in the place of a password.
const MASK: &str = "***";
/// Where a password may stand among the parameters of an address.
const SECRET_PARAMETERS: [&str; 3] = ["password", "pass", "token"];

/// The address with its password masked; the user stays.
pub(super) fn password(address: &str) -> String {
    let (scheme, rest) = match address.split_once("://") {
        Some((scheme, rest)) => (format!("{scheme}://"), rest),
        None => (String::new(), address),
    };
    // A password that was not encoded may hold any sign: the last `@` ends it.
    let shown = match rest.rsplit_once('@') {
        Some((login, host)) => match login.split_once(':') {
            Some((user, _)) => format!("{user}:{MASK}@{host}"),
            None => rest.to_owned(),
        },
        None => rest.to_owned(),
    };
    format!("{scheme}{}", parameters(&shown))
}

fn parameters(address: &str) -> String {
    let Some((before, query)) = address.split_once('?') else { return address.to_owned() };
    let masked = query.split('&').map(|pair| match pair.split_once('=') {
        Some((name, _)) if SECRET_PARAMETERS.contains(&name) => format!("{name}={MASK}"),
        Some(_) | None => pair.to_owned(),
    });
    format!("{before}?{}", masked.collect::<Vec<String>>().join("&"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_hidden_and_the_rest_stays() {
        for (address, shown) in [
            ("amqp://127.0.0.1:5672/%2f", "amqp://127.0.0.1:5672/%2f"),
            ("amqps://ada:hunter2@mq:5671/v?heartbeat=5", "amqps://ada:***@mq:5671/v?heartbeat=5"),
            ("redis://:hunter2@redis:6379/0", "redis://:***@redis:6379/0"),
            ("rediss://ada@redis:6379/0", "rediss://ada@redis:6379/0"),
            ("amqp://ada:hun@ter/2@mq/", "amqp://ada:***@mq/"),
            ("ada:hunter2@mq", "ada:***@mq"),
            ("redis://h/0?password=hunter2&x=1", "redis://h/0?password=***&x=1"),
            ("unix:///var/run/docker.sock", "unix:///var/run/docker.sock"),
            ("", ""),
        ] {
            assert_eq!(password(address), shown);
        }
    }
}
