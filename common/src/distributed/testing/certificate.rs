//! A certificate for this machine, and the authority that signed it.

use std::path::Path;

use tokio::process::Command;

const MAKE: &str = "set -e; new='-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes'
openssl req -x509 $new -days 2 -keyout ca-key.pem -out ca.pem -subj /CN=authority
openssl req $new -keyout key.pem -out request.pem -subj /CN=localhost
printf 'subjectAltName=DNS:localhost,IP:127.0.0.1\\nbasicConstraints=CA:FALSE\\n' >extensions
openssl x509 -req -in request.pem -CA ca.pem -CAkey ca-key.pem -CAcreateserial -days 2 \
    -extfile extensions -out cert.pem";

/// Writes `cert.pem` and `key.pem` for `localhost` and 127.0.0.1 into `folder`, signed by the authority in `ca.pem`.
pub(crate) async fn make_certificate(folder: &Path) {
    let made = Command::new("sh").arg("-c").arg(MAKE).current_dir(folder).output().await;
    let made = made.expect("openssl runs");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}
