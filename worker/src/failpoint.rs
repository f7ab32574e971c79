//! Halting points for the crash matrix: before, inside and after every stage and every call to the outside. When
//! `SLIPWAY_FAILPOINT` names a point, the process says so in a file and then does nothing more in that task, so that
//! a test can kill or freeze it exactly there. Unset, a point costs one comparison.

use std::future::Future;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use futures_util::future::{BoxFuture, Either};

/// Environment variable that arms a point: `<place>.<before|inside|after>[#<n>]=<file to create>`; the n-th time it
/// is reached, the first time when `#<n>` is absent.
pub const FAILPOINT_VARIABLE: &str = "SLIPWAY_FAILPOINT";
/// How long a call runs before a point inside it halts it: enough for a request to be on its way.
const INSIDE_AFTER: Duration = Duration::from_millis(5);

macro_rules! places {
    ($($(#[$doc:meta])* $name:ident = $text:literal),+ $(,)?) => {
        /// Where a process can be halted.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Place {
            $($(#[$doc])* $name,)+
        }

        impl Place {
            /// Every place.
            pub const ALL: &'static [Self] = &[$(Self::$name),+];

            /// Its name in [`FAILPOINT_VARIABLE`].
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)+
                }
            }
        }

        /// Every point there is, as [`FAILPOINT_VARIABLE`] names it.
        pub const POINTS: &[&str] =
            &[$(concat!($text, ".before"), concat!($text, ".inside"), concat!($text, ".after")),+];
    };
}

places! {
    /// The clone stage.
    Clone = "clone",
    /// The template stage.
    Template = "template",
    /// The commit stage.
    Commit = "commit",
    /// The build stage.
    Build = "build",
    /// The apply stage.
    Apply = "apply",
    /// The stop stage.
    Stop = "stop",
    /// The lease on project and environment is taken.
    LeaseAcquire = "lease_acquire",
    /// A stored credential is read.
    CredentialRead = "credential_read",
    /// A stable port is reserved.
    PortReserve = "port_reserve",
    /// The Git host is asked for its references.
    RemoteRead = "remote_read",
    /// A commit is fetched into the mirror.
    MirrorFetch = "mirror_fetch",
    /// A commit is pushed.
    Push = "push",
    /// The engine builds an image.
    ImageBuild = "image_build",
    /// The engine pulls an image.
    ImagePull = "image_pull",
    /// An image is pushed to the registry.
    ImagePush = "image_push",
    /// An old image is removed.
    ImageRemove = "image_remove",
    /// The project's network is created.
    NetworkCreate = "network_create",
    /// The project's network is removed.
    NetworkRemove = "network_remove",
    /// A container is created.
    ContainerCreate = "container_create",
    /// A container is started.
    ContainerStart = "container_start",
    /// A container is renamed, which routes requests to it or away from it.
    ContainerRename = "container_rename",
    /// A container is told how to be restarted.
    ContainerUpdate = "container_update",
    /// A container is stopped.
    ContainerStop = "container_stop",
    /// A container is removed.
    ContainerRemove = "container_remove",
    /// An object is tried on a cluster, without effect.
    ObjectDryRun = "object_dry_run",
    /// An object is applied to a cluster.
    ObjectApply = "object_apply",
    /// An object is created on a cluster: a namespace or the first inventory.
    ObjectCreate = "object_create",
    /// An object is replaced on a cluster: the inventory.
    ObjectReplace = "object_replace",
    /// An object is deleted from a cluster.
    ObjectDelete = "object_delete",
    /// A record is appended to the ledger.
    LedgerAppend = "ledger_append",
    /// A record is applied to the store.
    StoreApply = "store_apply",
    /// A finished job is taken off the queue.
    QueueComplete = "queue_complete",
    /// A job is parked.
    QueuePark = "queue_park",
    /// A job is set aside.
    QueueBury = "queue_bury",
}

/// When at a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// Nothing was done yet.
    Before,
    /// It was begun; whether it takes effect is open.
    Inside,
    /// It was done, and nobody was told.
    After,
}

impl Moment {
    fn as_str(self) -> &'static str {
        match self {
            Self::Before => "before",
            Self::Inside => "inside",
            Self::After => "after",
        }
    }
}

/// An armed point.
#[derive(Debug)]
struct Armed {
    place: String,
    moment: String,
    nth: u32,
    reached: AtomicU32,
    file: PathBuf,
}

impl Armed {
    /// Parses the variable's value; anything unreadable arms nothing.
    fn parse(value: &str) -> Option<Self> {
        let (point, file) = value.split_once('=')?;
        let (point, nth) = match point.split_once('#') {
            Some((point, nth)) => (point, nth.parse().ok()?),
            None => (point, 1),
        };
        if !POINTS.contains(&point) {
            tracing::error!(point, "there is no such failpoint");
            return None;
        }
        tracing::warn!(point, nth, "a failpoint is armed: this process will halt there");
        let (place, moment) = point.split_once('.')?;
        Some(Self {
            place: place.to_owned(),
            moment: moment.to_owned(),
            nth,
            reached: AtomicU32::new(0),
            file: PathBuf::from(file),
        })
    }

    fn is(&self, place: Place, moment: Moment) -> bool {
        self.place == place.as_str() && self.moment == moment.as_str()
    }

    /// Halts here for ever if this is the point, the time, and no process halted there before.
    async fn reach(&self, place: Place, moment: Moment) {
        if !self.is(place, moment) || self.file.exists() {
            return;
        }
        if self.reached.fetch_add(1, Ordering::Relaxed) + 1 != self.nth {
            return;
        }
        if let Err(error) = std::fs::write(&self.file, format!("{}.{}", self.place, self.moment)) {
            tracing::error!(%error, "the failpoint's file could not be written");
            return;
        }
        std::future::pending::<()>().await;
    }

    async fn around<T>(&self, place: Place, call: impl Future<Output = T>) -> T {
        self.reach(place, Moment::Before).await;
        let mut call = std::pin::pin!(call);
        let done = if self.is(place, Moment::Inside) {
            tokio::select! {
                biased;
                done = &mut call => {
                    self.reach(place, Moment::Inside).await;
                    done
                }
                () = tokio::time::sleep(INSIDE_AFTER) => {
                    self.reach(place, Moment::Inside).await;
                    call.await
                }
            }
        } else {
            call.await
        };
        self.reach(place, Moment::After).await;
        done
    }
}

/// What the environment arms, looked up once.
fn armed() -> Option<&'static Armed> {
    static ARMED: OnceLock<Option<Armed>> = OnceLock::new();
    ARMED.get_or_init(|| Armed::parse(&std::env::var(FAILPOINT_VARIABLE).ok()?)).as_ref()
}

/// Halts here for ever if this point is armed.
pub async fn reach(place: Place, moment: Moment) {
    if let Some(armed) = armed() {
        armed.reach(place, moment).await;
    }
}

/// Runs `call` with its three points around and inside it. A call that is halted inside is kept, not dropped.
pub fn around<'a, F>(place: Place, call: F) -> Either<F, BoxFuture<'a, F::Output>>
where
    F: Future<Output: Send> + Send + 'a,
{
    match armed() {
        // Boxed, so that a point that is not armed makes no future larger.
        Some(armed) => Either::Right(Box::pin(armed.around(place, call))),
        None => Either::Left(call),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_millis(100);

    fn armed_at(point: &str, folder: &tempfile::TempDir) -> Armed {
        Armed::parse(&format!("{point}={}", folder.path().join("reached").display())).unwrap()
    }

    async fn halts<T>(work: impl Future<Output = T>) -> bool {
        tokio::time::timeout(SOON, work).await.is_err()
    }

    #[test]
    fn every_place_has_its_three_points_and_a_name_of_its_own() {
        let mut names: Vec<&str> = Place::ALL.iter().map(|place| place.as_str()).collect();
        assert_eq!(POINTS.len(), 3 * names.len());
        for place in Place::ALL {
            for moment in [Moment::Before, Moment::Inside, Moment::After] {
                assert!(POINTS.contains(&format!("{}.{}", place.as_str(), moment.as_str()).as_str()));
            }
        }
        names.sort_unstable();
        names.dedup();
        assert_eq!(POINTS.len(), 3 * names.len());
        assert!(Armed::parse("nowhere.before=/tmp/x").is_none());
    }

    #[tokio::test]
    async fn halts_once_at_the_armed_point_and_nowhere_else() {
        let folder = tempfile::tempdir().unwrap();
        let armed = armed_at("build.before", &folder);
        assert!(!halts(armed.reach(Place::Clone, Moment::Before)).await);
        assert!(!halts(armed.reach(Place::Build, Moment::After)).await);
        assert!(halts(armed.reach(Place::Build, Moment::Before)).await);
        assert!(folder.path().join("reached").exists());
        assert!(!halts(armed.reach(Place::Build, Moment::Before)).await, "the next process passes");
    }

    #[tokio::test]
    async fn a_call_is_halted_before_inside_and_after_its_effect() {
        for (moment, effects) in [("before", 0), ("inside", 1), ("after", 1)] {
            let folder = tempfile::tempdir().unwrap();
            let armed = armed_at(&format!("push.{moment}"), &folder);
            let effect = AtomicU32::new(0);
            let call = async { effect.fetch_add(1, Ordering::Relaxed) };
            assert!(halts(armed.around(Place::Push, call)).await, "{moment}");
            assert_eq!(effect.load(Ordering::Relaxed), effects, "{moment}");
        }
        let folder = tempfile::tempdir().unwrap();
        let armed = armed_at("push.inside", &folder);
        let endless = armed.around(Place::Push, std::future::pending::<()>());
        assert!(halts(endless).await);
        assert!(folder.path().join("reached").exists(), "a call under way is halted too");
    }

    #[tokio::test]
    async fn the_nth_time_can_be_chosen() {
        let folder = tempfile::tempdir().unwrap();
        let armed = armed_at("ledger_append.after#3", &folder);
        for _ in 0..2 {
            assert!(!halts(armed.reach(Place::LedgerAppend, Moment::After)).await);
        }
        assert!(halts(armed.reach(Place::LedgerAppend, Moment::After)).await);
    }
}
