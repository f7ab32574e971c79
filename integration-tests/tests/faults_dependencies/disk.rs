//! A worker's disk is full (F13).

use std::path::{Path, PathBuf};
use std::time::Duration;

use slipway_integration_tests::ground::{Ground, Plan, turn};
use tokio::process::Command;

/// Size of the disk.
const DISK_BYTES: u32 = 4 * 1024 * 1024;
/// Jobs that both workers could take.
const JOBS: usize = 8;
const ENDS_MAX: Duration = Duration::from_secs(90);

/// A small disk of its own in place of a folder. Gone after [`SmallDisk::unmount`].
struct SmallDisk(PathBuf);

async fn run(program: &str, arguments: &[&str], folder: &Path) -> bool {
    let mut command = Command::new(program);
    command.args(arguments).arg(folder).env_clear();
    let ran = command.env("PATH", std::env::var_os("PATH").unwrap_or_default()).output().await;
    ran.is_ok_and(|output| output.status.success())
}

impl SmallDisk {
    /// `None` where mounting is not allowed.
    async fn mount(folder: &Path) -> Option<Self> {
        std::fs::create_dir_all(folder).unwrap();
        let size = format!("size={DISK_BYTES}");
        let mounted = run("mount", &["-t", "tmpfs", "-o", &size, "tmpfs"], folder).await;
        mounted.then(|| Self(folder.to_owned()))
    }

    /// Leaves nothing free.
    fn fill(&self) {
        let file = std::fs::File::create(self.ballast()).unwrap();
        let mut written = 0;
        while std::io::Write::write_all(&mut &file, &[1; 1024]).is_ok() {
            written += 1024;
            assert!(written <= DISK_BYTES, "the disk is larger than asked for");
        }
    }

    /// Leaves all of it free.
    fn empty(&self) {
        std::fs::remove_file(self.ballast()).unwrap();
    }

    fn ballast(&self) -> PathBuf {
        self.0.join("ballast")
    }

    /// Takes it away, whoever uses it.
    async fn unmount(self) {
        assert!(run("umount", &["--lazy"], &self.0).await, "{:?} stays mounted", self.0);
    }
}

/// F13: the disk of one of two workers is full when it clones. It says that it is not ready and leaves the jobs to the
/// other one, which ends them all; nothing half done is pushed.
#[tokio::test(flavor = "multi_thread")]
async fn f13_worker_disk_full() {
    let _turn = turn().await;
    let ground = Ground::start(Plan::new(JOBS + 1).with(1, 2).idle()).await.unwrap();
    let folder = ground.slipway.worker_process(0).unwrap().data_folder().join("mirrors");
    let Some(disk) = SmallDisk::mount(&folder).await else {
        println!("SKIP mount: a small disk cannot be mounted here");
        return;
    };
    let ended = jobs_go_elsewhere(&ground, &disk).await;
    disk.unmount().await;
    ended.unwrap();
}

async fn jobs_go_elsewhere(ground: &Ground, disk: &SmallDisk) -> anyhow::Result<()> {
    let (full, good) = (ground.slipway.worker_process(0)?, ground.slipway.worker_process(1)?);
    full.start_again().await?;
    disk.fill();
    // Alone at first, so that a job does meet the full disk.
    let mut jobs = vec![ground.accept(0, &ground.request(0)).await?];
    let unready = || async { !full.is_ready().await };
    let unready = ground.wait("the worker to be unready", ENDS_MAX, unready).await?;
    good.start_again().await?;
    jobs.extend(ground.accept_all(1..JOBS).await?);
    ground.expect_all_good(&jobs, ENDS_MAX).await?;
    anyhow::ensure!(full.is_running(), "{}", full.log());
    println!("F13: unready after {unready:?}; {JOBS} jobs done elsewhere");
    disk.empty();
    ground.wait("the worker to be ready again", ENDS_MAX, || full.is_ready()).await?;
    Ok(())
}
