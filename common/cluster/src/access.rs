//! How the API server is reached: from within the cluster, by one context of a kubeconfig, or by address and token.
//! A kubeconfig that would run programs, read further files, use a proxy or skip the check of certificates is refused.

use std::path::{Path, PathBuf};
use std::time::Duration;

use kube::Config;
use kube::config::{AuthInfo, Cluster, KubeConfigOptions, Kubeconfig};
use secrecy::SecretString;
use slipway_common::config::KubernetesConfig;

/// Longest wait for a connection to the API server.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Largest kubeconfig, token or certificate file.
const FILE_MAX_BYTES: u64 = 1024 * 1024;

/// Where the API server is and who Slipway is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Access {
    /// The cluster this process runs in, under its service account.
    InCluster,
    /// A context of a kubeconfig.
    Kubeconfig {
        /// The file.
        path: PathBuf,
        /// The context; the file's current one when absent.
        context: Option<String>,
    },
    /// An address and a token.
    Server {
        /// `https://host:port`.
        server: String,
        /// File with the certificates to trust (PEM); the system's when absent.
        ca_file: Option<PathBuf>,
        /// File with the token; read anew when it is refused.
        token_file: PathBuf,
    },
}

/// Why the API server cannot be reached by the settings of a target.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the target's setting `{key}`: {reason}")]
pub struct AccessError {
    /// Its name in `[kubernetes.<target>]`.
    pub key: &'static str,
    /// What is wrong.
    pub reason: String,
}

impl Access {
    /// How the API server is reached; the configuration names exactly one way.
    #[must_use]
    pub fn of_config(cluster: &KubernetesConfig) -> Self {
        let path = |text: &String| Some(PathBuf::from(text)).filter(|_| !text.is_empty());
        if let Some(kubeconfig) = path(&cluster.kubeconfig) {
            let context = Some(cluster.context.clone()).filter(|context| !context.is_empty());
            return Self::Kubeconfig { path: kubeconfig, context };
        }
        match path(&cluster.token_file) {
            Some(token_file) => {
                Self::Server { server: cluster.server.clone(), ca_file: path(&cluster.ca_file), token_file }
            }
            None => Self::InCluster,
        }
    }
}

/// Reads what is needed for a connection. Called again when the credentials were refused: they may have been renewed.
pub(crate) async fn config(access: &Access) -> Result<Config, AccessError> {
    let mut config = match access {
        Access::InCluster => Config::incluster().map_err(|error| setting("in_cluster", error.to_string()))?,
        Access::Kubeconfig { path, context } => of_kubeconfig(path, context.clone()).await?,
        Access::Server { server, ca_file, token_file } => {
            of_server(server, ca_file.as_deref(), token_file).await?
        }
    };
    config.connect_timeout = Some(CONNECT_TIMEOUT);
    // Whoever calls tries again in its own time: a call that is repeated for minutes would hold it up.
    config.default_retry = false;
    config.proxy_url = None;
    Ok(config)
}

/// The same way to the API server for somebody else: of who Slipway is there nothing is left but this token.
pub(crate) async fn config_for(access: &Access, token: &SecretString) -> Result<Config, AccessError> {
    let mut config = config(access).await?;
    config.auth_info = AuthInfo { token: Some(token.clone()), ..AuthInfo::default() };
    Ok(config)
}

async fn of_kubeconfig(path: &Path, context: Option<String>) -> Result<Config, AccessError> {
    let text = read("kubeconfig", path).await?;
    let parsed = Kubeconfig::from_yaml(&text).map_err(|error| setting("kubeconfig", error.to_string()))?;
    check(&parsed).map_err(|reason| setting("kubeconfig", reason))?;
    let options = KubeConfigOptions { context, ..KubeConfigOptions::default() };
    Config::from_custom_kubeconfig(parsed, &options)
        .await
        .map_err(|error| setting("context", error.to_string()))
}

async fn of_server(server: &str, ca_file: Option<&Path>, token_file: &Path) -> Result<Config, AccessError> {
    let address: http::Uri =
        server.parse().map_err(|_| setting("server", "must be an https:// address".to_owned()))?;
    if address.scheme_str() != Some("https") {
        return Err(setting("server", "must be an https:// address".to_owned()));
    }
    let mut config = Config::new(address);
    if let Some(path) = ca_file {
        config.root_cert = Some(certificates(&read("ca_file", path).await?)?);
    }
    let token = read("token_file", token_file).await?;
    config.auth_info =
        AuthInfo { token: Some(SecretString::from(token.trim().to_owned())), ..AuthInfo::default() };
    Ok(config)
}

/// Checks that nothing but this file decides what is run, read and trusted. Pure.
fn check(kubeconfig: &Kubeconfig) -> Result<(), String> {
    for named in &kubeconfig.clusters {
        if let Some(cluster) = &named.cluster
            && let Some(what) = refused_of_cluster(cluster)
        {
            return Err(format!("the cluster `{}` has {what}, which is not allowed", named.name));
        }
    }
    for named in &kubeconfig.auth_infos {
        if let Some(user) = &named.auth_info
            && let Some(what) = refused_of_user(user)
        {
            return Err(format!("the user `{}` has {what}, which is not allowed", named.name));
        }
    }
    Ok(())
}

fn refused_of_cluster(cluster: &Cluster) -> Option<&'static str> {
    let is_https = cluster.server.as_deref().is_some_and(|server| server.starts_with("https://"));
    [
        (cluster.insecure_skip_tls_verify == Some(true), "`insecure-skip-tls-verify`"),
        (cluster.proxy_url.is_some(), "`proxy-url`"),
        (
            cluster.certificate_authority.is_some(),
            "`certificate-authority` (use `certificate-authority-data`)",
        ),
        (!is_https, "a `server` that is not https"),
    ]
    .into_iter()
    .find_map(|(refused, what)| refused.then_some(what))
}

fn refused_of_user(user: &AuthInfo) -> Option<&'static str> {
    [
        (user.exec.is_some(), "`exec`"),
        (user.auth_provider.is_some(), "`auth-provider`"),
        (user.token_file.is_some(), "`tokenFile` (use `token`)"),
        (user.client_certificate.is_some(), "`client-certificate` (use `client-certificate-data`)"),
        (user.client_key.is_some(), "`client-key` (use `client-key-data`)"),
        (user.impersonate.is_some() || user.impersonate_groups.is_some(), "`as`"),
    ]
    .into_iter()
    .find_map(|(refused, what)| refused.then_some(what))
}

fn certificates(text: &str) -> Result<Vec<Vec<u8>>, AccessError> {
    use base64::Engine as _;
    const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
    const END: &str = "-----END CERTIFICATE-----";
    let found: Option<Vec<Vec<u8>>> = text
        .split(BEGIN)
        .skip(1)
        .map(|rest| {
            let body: String = rest.split(END).next()?.split_whitespace().collect();
            base64::engine::general_purpose::STANDARD.decode(body).ok()
        })
        .collect();
    match found {
        Some(found) if !found.is_empty() => Ok(found),
        _ => Err(setting("ca_file", "holds no certificate in PEM form".to_owned())),
    }
}

async fn read(key: &'static str, path: &Path) -> Result<String, AccessError> {
    let unreadable = |reason: String| setting(key, format!("{} cannot be read: {reason}", path.display()));
    let length = tokio::fs::metadata(path).await.map_err(|error| unreadable(error.to_string()))?.len();
    if length > FILE_MAX_BYTES {
        return Err(unreadable(format!("it has more than {FILE_MAX_BYTES} bytes")));
    }
    tokio::fs::read_to_string(path).await.map_err(|error| unreadable(error.to_string()))
}

fn setting(key: &'static str, reason: String) -> AccessError {
    AccessError { key, reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kubeconfig(cluster: &str, user: &str) -> Kubeconfig {
        let text = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: a\n\
             clusters:\n- name: a\n  cluster: {{server: \"https://k.example\"{cluster}}}\n\
             users:\n- name: a\n  user: {{token: t{user}}}\n\
             contexts:\n- name: a\n  context: {{cluster: a, user: a}}\n"
        );
        Kubeconfig::from_yaml(&text).unwrap()
    }

    #[test]
    fn a_kubeconfig_runs_nothing_and_reads_nothing_else() {
        assert_eq!(check(&kubeconfig("", "")), Ok(()));
        let refused = [
            (", insecure-skip-tls-verify: true", "", "insecure-skip-tls-verify"),
            (", proxy-url: \"http://p\"", "", "proxy-url"),
            (", certificate-authority: /etc/passwd", "", "certificate-authority"),
            ("", ", exec: {apiVersion: client.authentication.k8s.io/v1, command: sh}", "exec"),
            ("", ", auth-provider: {name: gcp}", "auth-provider"),
            ("", ", tokenFile: /etc/passwd", "tokenFile"),
            ("", ", client-certificate: /c", "client-certificate"),
            ("", ", client-key: /k", "client-key"),
            ("", ", as: system:admin", "`as`"),
        ];
        for (cluster, user, named) in refused {
            let error = check(&kubeconfig(cluster, user)).unwrap_err();
            assert!(error.contains(named), "{named}: {error}");
        }
        let plain = kubeconfig("", "");
        let mut http = plain.clone();
        http.clusters[0].cluster.as_mut().unwrap().server = Some("http://k.example".to_owned());
        assert!(check(&http).unwrap_err().contains("not https"));
    }

    #[test]
    fn the_configuration_names_the_way() {
        let with = |kubeconfig: &str, context: &str, server: &str, ca_file: &str, token_file: &str| {
            let owned = str::to_owned;
            Access::of_config(&KubernetesConfig {
                kubeconfig: owned(kubeconfig),
                context: owned(context),
                server: owned(server),
                ca_file: owned(ca_file),
                token_file: owned(token_file),
                ..KubernetesConfig::default()
            })
        };
        assert_eq!(with("", "", "", "", ""), Access::InCluster);
        assert_eq!(with("/k", "", "", "", ""), Access::Kubeconfig { path: "/k".into(), context: None });
        assert_eq!(
            with("/k", "c", "", "", ""),
            Access::Kubeconfig { path: "/k".into(), context: Some("c".to_owned()) }
        );
        assert_eq!(
            with("", "", "https://k", "", "/t"),
            Access::Server { server: "https://k".to_owned(), ca_file: None, token_file: "/t".into() }
        );
        assert_eq!(
            with("", "", "https://k", "/c", "/t"),
            Access::Server {
                server: "https://k".to_owned(),
                ca_file: Some("/c".into()),
                token_file: "/t".into()
            }
        );
    }

    #[tokio::test]
    async fn with_a_token_of_a_request_nothing_is_left_of_who_slipway_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kubeconfig");
        let text = "apiVersion: v1\nkind: Config\ncurrent-context: a\n\
             clusters:\n- name: a\n  cluster: {server: \"https://k.example\"}\n\
             users:\n- name: a\n  user: {token: own, username: u, password: p, \
             client-certificate-data: Yw==, client-key-data: aw==}\n\
             contexts:\n- name: a\n  context: {cluster: a, user: a}\n";
        std::fs::write(&path, text).unwrap();
        let access = Access::Kubeconfig { path, context: None };
        let shown = |config: &Config| serde_json::to_value(&config.auth_info).unwrap();
        let own = config(&access).await.unwrap();
        assert_eq!(shown(&own)["client-key-data"], "aw==");
        let other = config_for(&access, &SecretString::from("theirs")).await.unwrap();
        assert_eq!(shown(&other), serde_json::json!({ "token": "theirs" }));
        assert_eq!((other.cluster_url, other.default_retry), (own.cluster_url, false));
    }

    #[tokio::test]
    async fn an_address_needs_tls_and_a_certificate_that_is_one() {
        let folder = tempfile::tempdir().unwrap();
        let (token, ca) = (folder.path().join("token"), folder.path().join("ca.crt"));
        std::fs::write(&token, "secret\n").unwrap();
        std::fs::write(&ca, "nothing").unwrap();
        let server = |server: &str, ca_file: Option<&Path>| Access::Server {
            server: server.to_owned(),
            ca_file: ca_file.map(Path::to_owned),
            token_file: token.clone(),
        };
        assert!(config(&server("http://k.example", None)).await.is_err());
        assert!(config(&server("https://k.example", Some(&ca))).await.is_err());
        let missing = config(&server("https://k.example", Some(Path::new("/nonexistent")))).await;
        assert!(missing.unwrap_err().to_string().contains("ca_file"));
        let good = config(&server("https://k.example", None)).await.unwrap();
        assert!(!good.default_retry && good.proxy_url.is_none());
    }
}
