//! The distributed form as real processes: any number of `slipway-api`, `slipway-worker` and `slipway-scaler` over one
//! RabbitMQ and one Redis, each with the means to kill, freeze, end and start it again.

mod client;
mod halt;
mod process;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail};
use slipway_common::secrets::Sealer;
use tokio::time::Instant;

use crate::process_control::{PrivateFolder, free_port};
use crate::programs::Program;

pub use client::{ApiClient, ended_as};
pub use halt::Halt;
pub use process::SlipwayPart;

/// Longest wait for a process to be ready.
pub const READY_TIMEOUT: Duration = Duration::from_secs(60);
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// What a fixture is made of.
#[derive(Debug, Clone)]
pub struct DistributedOptions {
    /// Processes of the API.
    pub apis: usize,
    /// Worker processes.
    pub workers: usize,
    /// Scaler processes.
    pub scalers: usize,
    /// RabbitMQ, or lines to it.
    pub broker_urls: Vec<String>,
    /// Redis, or a line to it.
    pub redis_url: String,
    /// Beginning of every name at the broker and of every key; one of its own when empty.
    pub prefix: String,
    /// Environment variables of every process, such as `SLIPWAY__WORKER__SLOTS`.
    pub variables: Vec<(String, String)>,
    /// RabbitMQ for single processes, by their names, such as a line of their own.
    pub broker_urls_of: BTreeMap<String, Vec<String>>,
}

impl DistributedOptions {
    /// One API and one worker.
    #[must_use]
    pub fn new(broker_urls: Vec<String>, redis_url: String) -> Self {
        Self {
            apis: 1,
            workers: 1,
            scalers: 0,
            broker_urls,
            redis_url,
            prefix: String::new(),
            variables: Vec::new(),
            broker_urls_of: BTreeMap::new(),
        }
    }

    /// With another way to RabbitMQ for the process of this name.
    #[must_use]
    pub fn broker_for(mut self, name: &str, urls: Vec<String>) -> Self {
        self.broker_urls_of.insert(name.to_owned(), urls);
        self
    }

    /// With so many of each.
    #[must_use]
    pub fn with(mut self, apis: usize, workers: usize) -> Self {
        (self.apis, self.workers) = (apis, workers);
        self
    }

    /// With so many scalers.
    #[must_use]
    pub fn scalers(mut self, scalers: usize) -> Self {
        self.scalers = scalers;
        self
    }

    /// With an environment variable for every process.
    #[must_use]
    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }
}

/// Processes that make up one Slipway. They end with this value, and with the test process in any case.
#[derive(Debug)]
pub struct DistributedSlipway {
    apis: Vec<SlipwayPart>,
    workers: Vec<SlipwayPart>,
    scalers: Vec<SlipwayPart>,
    prefix: String,
    token: String,
    _folder: PrivateFolder,
}

impl DistributedSlipway {
    /// Starts everything and waits until all of it is ready.
    ///
    /// # Errors
    /// When a program cannot be built or a process does not become ready; with its log.
    pub async fn start(options: DistributedOptions) -> anyhow::Result<Self> {
        let slipway = Self::start_apis(options).await?;
        for part in slipway.workers.iter().chain(&slipway.scalers) {
            part.start().await?;
        }
        slipway.wait_ready(READY_TIMEOUT).await?;
        Ok(slipway)
    }

    /// The same, with the workers prepared and not started.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub async fn start_apis(options: DistributedOptions) -> anyhow::Result<Self> {
        let (api, worker) = (Program::Api.path().await?, Program::Worker.path().await?);
        let folder = PrivateFolder::new("slipway").await?;
        let prefix = match options.prefix.as_str() {
            "" => format!("t{}", uuid::Uuid::now_v7().simple()),
            given => given.to_owned(),
        };
        let key = folder.path().join("secret.key");
        // Made here, so that no two processes make it at once.
        Sealer::from_key_file(&key)?;
        let part = |name: String, program: &Path| -> anyhow::Result<SlipwayPart> {
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?));
            let own = folder.path().join(&name);
            std::fs::create_dir(&own)?;
            let config = own.join("slipway.toml");
            std::fs::write(&config, settings(&options, &name, &prefix, address, &own, &key))?;
            let environment = options.variables.clone();
            Ok(SlipwayPart::new(name, program.to_owned(), own, address, environment))
        };
        let apis = (0..options.apis)
            .map(|index| part(format!("api-{index}"), &api))
            .collect::<Result<Vec<_>, _>>()?;
        let workers = (0..options.workers)
            .map(|index| part(format!("worker-{index}"), &worker))
            .collect::<Result<Vec<_>, _>>()?;
        let scalers = match options.scalers {
            0 => Vec::new(),
            count => {
                let scaler = Program::Scaler.path().await?;
                (0..count).map(|index| part(format!("scaler-{index}"), &scaler)).collect::<Result<_, _>>()?
            }
        };
        let mut slipway = Self { apis, workers, scalers, prefix, token: String::new(), _folder: folder };
        for api in &slipway.apis {
            api.start().await?;
            api.wait_ready(READY_TIMEOUT).await?;
        }
        slipway.token = slipway.first_token().await?;
        Ok(slipway)
    }

    /// The token that the first process made; whichever was first has it in its folder. It is in its file a moment
    /// before it is accepted.
    async fn first_token(&self) -> anyhow::Result<String> {
        let deadline = Instant::now() + READY_TIMEOUT;
        loop {
            for api in &self.apis {
                let Ok(token) = std::fs::read_to_string(api.data_folder().join("admin.token")) else {
                    continue;
                };
                let client = ApiClient::new(&api.base_url(), token.trim())?;
                if matches!(client.get("/deployments?limit=1").await, Ok((200, _))) {
                    return Ok(token.trim().to_owned());
                }
            }
            if Instant::now() > deadline {
                bail!("no process of the API has made a first token that is accepted");
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    /// Waits until every process that was started says that it is ready.
    ///
    /// # Errors
    /// When one does not in time; with its log.
    pub async fn wait_ready(&self, longest: Duration) -> anyhow::Result<()> {
        for part in self.parts().filter(|part| part.is_running()) {
            part.wait_ready(longest).await?;
        }
        Ok(())
    }

    /// A process of the API.
    ///
    /// # Errors
    /// When there is no such process.
    pub fn api_process(&self, index: usize) -> anyhow::Result<&SlipwayPart> {
        self.apis.get(index).with_context(|| format!("there is no API {index}"))
    }

    /// A worker process.
    ///
    /// # Errors
    /// When there is no such process.
    pub fn worker_process(&self, index: usize) -> anyhow::Result<&SlipwayPart> {
        self.workers.get(index).with_context(|| format!("there is no worker {index}"))
    }

    /// A scaler process.
    ///
    /// # Errors
    /// When there is no such process.
    pub fn scaler_process(&self, index: usize) -> anyhow::Result<&SlipwayPart> {
        self.scalers.get(index).with_context(|| format!("there is no scaler {index}"))
    }

    /// Every process.
    pub fn parts(&self) -> impl Iterator<Item = &SlipwayPart> {
        self.apis.iter().chain(&self.workers).chain(&self.scalers)
    }

    /// A client of one process of the API, with the first token.
    ///
    /// # Errors
    /// When there is no such process.
    pub fn api(&self, index: usize) -> anyhow::Result<ApiClient> {
        ApiClient::new(&self.api_process(index)?.base_url(), &self.token)
    }

    /// Beginning of every name at the broker and of every key.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The first token.
    #[must_use]
    pub fn token(&self) -> &str {
        &self.token
    }

    /// Everything all processes have logged, with their names.
    #[must_use]
    pub fn logs(&self) -> String {
        self.parts().map(|part| format!("---- {}\n{}", part.name(), part.log())).collect()
    }
}

fn settings(
    options: &DistributedOptions,
    name: &str,
    prefix: &str,
    address: SocketAddr,
    own: &Path,
    key: &Path,
) -> String {
    // One file serves both programs; each reads its own address.
    format!(
        "[server]\nlisten = \"{address}\"\n[health]\nlisten = \"{address}\"\n[data]\ndir = {:?}\n\
         [secrets]\nkey_file = {:?}\n[broker]\nurls = {:?}\nprefix = {prefix:?}\n[redis]\nurl = {:?}\n",
        own.join("data").display().to_string(),
        key.display().to_string(),
        options.broker_urls_of.get(name).unwrap_or(&options.broker_urls),
        options.redis_url,
    )
}
