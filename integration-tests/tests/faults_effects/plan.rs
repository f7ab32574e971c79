//! Which work reaches which point. A place that is added to the table must be given a scenario here, and a scenario
//! whose point is never reached fails.

use slipway_worker::failpoint::Place;

/// Work that makes a worker pass certain places.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scenario {
    /// A deployment and its stop: the rows of the crash matrix.
    Stage,
    /// A job that ends with the push.
    Push,
    /// A job whose first attempt fails.
    Park,
    /// A job of a format nobody knows.
    Bury,
    /// The first deployment of a project.
    FirstDeployment,
    /// A deployment of a new commit.
    Build,
    /// A further deployment of an image.
    Redeployment,
    /// The end of a project.
    Removal,
    /// A deployment of an image the engine has not.
    Pull,
    /// Those of a cluster; the suite of the Kubernetes target goes through them.
    Cluster,
}

impl Scenario {
    pub(crate) const ALL: [Self; 10] = [
        Self::Stage,
        Self::Push,
        Self::Park,
        Self::Bury,
        Self::FirstDeployment,
        Self::Build,
        Self::Redeployment,
        Self::Removal,
        Self::Pull,
        Self::Cluster,
    ];
}

const MOMENTS: [&str; 3] = ["before", "inside", "after"];
/// Writes of one job to ledger and store beyond the first one at which it is killed too.
const LATER_WRITES: std::ops::RangeInclusive<u32> = 2..=4;

fn scenario(place: Place) -> Scenario {
    match place {
        Place::Clone | Place::Template | Place::Commit | Place::Build | Place::Apply | Place::Stop => {
            Scenario::Stage
        }
        Place::LeaseAcquire
        | Place::CredentialRead
        | Place::RemoteRead
        | Place::MirrorFetch
        | Place::Push
        | Place::LedgerAppend
        | Place::StoreApply
        | Place::QueueComplete => Scenario::Push,
        Place::QueuePark => Scenario::Park,
        Place::QueueBury => Scenario::Bury,
        Place::PortReserve | Place::NetworkCreate => Scenario::FirstDeployment,
        Place::ImageBuild | Place::ImagePush | Place::ImageRemove => Scenario::Build,
        Place::ContainerCreate
        | Place::ContainerStart
        | Place::ContainerRename
        | Place::ContainerUpdate
        | Place::ContainerStop
        | Place::ContainerRemove => Scenario::Redeployment,
        Place::NetworkRemove => Scenario::Removal,
        Place::ImagePull => Scenario::Pull,
        Place::ObjectDryRun
        | Place::ObjectApply
        | Place::ObjectCreate
        | Place::ObjectReplace
        | Place::ObjectDelete => Scenario::Cluster,
    }
}

/// The places a scenario reaches.
pub(crate) fn places(wanted: Scenario) -> impl Iterator<Item = Place> {
    Place::ALL.iter().copied().filter(move |place| scenario(*place) == wanted)
}

/// All points of a scenario, as the workers name them.
pub(crate) fn points(wanted: Scenario) -> Vec<String> {
    let of = |place: Place| MOMENTS.map(|moment| format!("{}.{moment}", place.as_str()));
    places(wanted).flat_map(of).collect()
}

/// Points between the later writes of a job.
pub(crate) fn later_writes() -> impl Iterator<Item = String> {
    let of = |place: Place| LATER_WRITES.map(move |nth| format!("{}.after#{nth}", place.as_str()));
    [Place::LedgerAppend, Place::StoreApply].into_iter().flat_map(of)
}
