//! A real engine: containers come, start, serve, drain and go, and the gateway follows their names.

use std::{
    collections::HashMap,
    io::Write as _,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

use bollard::{
    Docker,
    models::{ContainerCreateBody, HostConfig, NetworkCreateRequest},
    query_parameters::{
        BuildImageOptionsBuilder, CreateContainerOptionsBuilder, ListContainersOptionsBuilder,
        RemoveContainerOptionsBuilder, RemoveImageOptionsBuilder, RenameContainerOptionsBuilder,
    },
};
use bytes::Bytes;
use futures_util::StreamExt;
use http::StatusCode;
use http_body_util::{Either, Full};
use slipway_gateway::{Gateway, GatewaySettings, GatewayStatus, StatusView, route::label};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::support::{Got, free_port, get_from};

const APP_PORT: &str = "8080";
const PATIENCE: Duration = Duration::from_secs(30);
const BUSYBOX: &str = "/bin/busybox";
const DOCKERFILE: &str = "FROM scratch\nCOPY busybox /bin/busybox\n";

/// Everything one run makes on the engine, all of it under one name.
struct Stage {
    docker: Docker,
    run: String,
    gateway_port: u16,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_gateway_follows_containers_through_their_names() {
    let Ok(host) = std::env::var("SLIPWAY_TEST_DOCKER") else {
        // Past the test runner, which keeps what a passing test prints to itself.
        writeln!(std::io::stderr(), "SKIP docker: SLIPWAY_TEST_DOCKER not set").ok();
        return;
    };
    let docker = Docker::connect_with_host(&host).unwrap();
    let negotiated = docker.clone().negotiate_version().await.unwrap();
    let run = format!("slipway-gw-{}", Uuid::now_v7());
    let stage = Arc::new(Stage { docker: negotiated, run, gateway_port: free_port() });
    let story = Arc::clone(&stage);
    // On a task of its own, so that a panic too is followed by the cleaning up.
    let outcome = tokio::spawn(async move { story.story(docker).await }).await;
    stage.clean_up().await;
    outcome.unwrap().unwrap();
}

impl Stage {
    async fn story(&self, docker: Docker) -> Result<(), String> {
        // Reads are an hour apart, so that all but the first come from events. The address keeps this
        // gateway apart from any other one that watches the same engine: each opens every port it sees.
        let [high, low] = u16::try_from(std::process::id() % 65_536).unwrap().to_be_bytes();
        let settings = GatewaySettings {
            bind: IpAddr::V4(Ipv4Addr::new(127, 83, high, low.clamp(1, 254))),
            relist_interval_ms: 3_600_000,
            engine_backoff_max_ms: 3_600_000,
            drain_limit_ms: 2_000,
            ..GatewaySettings::default()
        };
        let address = SocketAddr::new(settings.bind, self.gateway_port);
        let shutdown = CancellationToken::new();
        let gateway = Gateway::start(settings, docker, shutdown.clone()).await.unwrap();
        let outcome = self.acts(&gateway.status_view(), address).await;
        shutdown.cancel();
        gateway.stopped().await;
        outcome
    }

    async fn acts(&self, gateway: &StatusView, address: SocketAddr) -> Result<(), String> {
        until("the first read", gateway, |status| status.ready).await?;
        self.build_image().await;
        let network = NetworkCreateRequest {
            name: self.run.clone(),
            labels: Some(HashMap::from([("io.slipway.test".to_owned(), self.run.clone())])),
            ..NetworkCreateRequest::default()
        };
        self.docker.create_network(network).await.unwrap();

        self.start("blue", "-starting").await;
        until("the port", gateway, |status| self.route(status).is_some_and(|(listening, _)| listening))
            .await?;
        let got = get_from(address, "/").await;
        expect_eq("while starting", got.problem_code(), "no_replicas".to_owned())?;

        self.rename("blue-starting", "blue").await;
        until("blue serving", gateway, |status| self.replicas(status) == 1).await?;
        expect_eq("blue serves", answer(&get_from(address, "/").await), (200, "blue\n".to_owned()))?;

        self.start("green", "-starting").await;
        expect_eq("green starts", answer(&get_from(address, "/").await), (200, "blue\n".to_owned()))?;
        self.rename("green-starting", "green").await;
        until("green serving", gateway, |status| self.replicas(status) == 2).await?;
        let mut both = vec![get_from(address, "/").await.body, get_from(address, "/").await.body];
        both.sort();
        expect_eq("both serve", both, vec!["blue\n".to_owned(), "green\n".to_owned()])?;

        self.rename("blue", "blue-draining").await;
        until("blue draining", gateway, |status| self.replicas(status) == 1).await?;
        for _ in 0..4 {
            expect_eq("blue drains", answer(&get_from(address, "/").await), (200, "green\n".to_owned()))?;
        }
        self.remove("blue-draining").await;
        expect_eq("blue is gone", get_from(address, "/").await.status, StatusCode::OK)?;
        self.remove("green").await;
        until("nothing left", gateway, |status| self.route(status).is_none_or(|(_, replicas)| replicas == 0))
            .await?;
        expect_eq("green is gone", get_from(address, "/").await.problem_code(), "no_replicas".to_owned())
    }

    fn route(&self, status: &GatewayStatus) -> Option<(bool, usize)> {
        let route = status.routes.iter().find(|route| route.port == self.gateway_port)?;
        Some((route.listening, route.upstreams.len()))
    }

    fn replicas(&self, status: &GatewayStatus) -> usize {
        self.route(status).map_or(0, |(_, replicas)| replicas)
    }

    fn name(&self, replica: &str) -> String {
        format!("{}-{replica}", self.run)
    }

    async fn build_image(&self) {
        let mut archive = tar::Builder::new(Vec::new());
        archive.append_path_with_name(BUSYBOX, "busybox").expect("busybox-static is installed");
        let mut header = tar::Header::new_gnu();
        header.set_size(u64::try_from(DOCKERFILE.len()).unwrap());
        header.set_mode(0o644);
        archive.append_data(&mut header, "Dockerfile", DOCKERFILE.as_bytes()).unwrap();
        let context = Either::Left(Full::new(Bytes::from(archive.into_inner().unwrap())));
        let options = BuildImageOptionsBuilder::new().dockerfile("Dockerfile").t(&self.run).rm(true).build();
        let mut building = std::pin::pin!(self.docker.build_image(options, None, Some(context)));
        while let Some(step) = building.next().await {
            step.unwrap();
        }
    }

    async fn start(&self, replica: &str, suffix: &str) {
        let name = self.name(&format!("{replica}{suffix}"));
        let labels = [
            ("io.slipway.test", self.run.clone()),
            (label::MANAGED, "true".to_owned()),
            (label::PROJECT, self.run.clone()),
            (label::ENVIRONMENT, "default".to_owned()),
            (label::DEPLOYMENT, Uuid::now_v7().to_string()),
            (label::ROLE, "app".to_owned()),
            (label::PORT, APP_PORT.to_owned()),
            (label::GATEWAY_PORT, self.gateway_port.to_string()),
            (label::HEALTH_PATH, "/index.html".to_owned()),
            (label::NETWORK, self.run.clone()),
        ];
        let script = format!(
            "{BUSYBOX} mkdir /www && echo {replica} > /www/index.html && \
             exec {BUSYBOX} httpd -f -p {APP_PORT} -h /www"
        );
        let body = ContainerCreateBody {
            image: Some(self.run.clone()),
            cmd: Some([BUSYBOX, "sh", "-c", &script].map(str::to_owned).to_vec()),
            labels: Some(labels.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()),
            host_config: Some(HostConfig { network_mode: Some(self.run.clone()), ..HostConfig::default() }),
            ..ContainerCreateBody::default()
        };
        let options = CreateContainerOptionsBuilder::new().name(&name).build();
        self.docker.create_container(Some(options), body).await.unwrap();
        self.docker.start_container(&name, None).await.unwrap();
    }

    async fn rename(&self, from: &str, to: &str) {
        let options = RenameContainerOptionsBuilder::new().name(&self.name(to)).build();
        self.docker.rename_container(&self.name(from), options).await.unwrap();
    }

    async fn remove(&self, replica: &str) {
        self.remove_named(&self.name(replica)).await.unwrap();
    }

    async fn remove_named(&self, name: &str) -> Result<(), bollard::errors::Error> {
        let options = RemoveContainerOptionsBuilder::new().force(true).build();
        self.docker.remove_container(name, Some(options)).await
    }

    /// Removes what bears this run's name; what is gone already is fine.
    async fn clean_up(&self) {
        let filters = HashMap::from([("label", vec![format!("io.slipway.test={}", self.run)])]);
        let options = ListContainersOptionsBuilder::new().all(true).filters(&filters).build();
        for container in self.docker.list_containers(Some(options)).await.unwrap_or_default() {
            drop(self.remove_named(&container.id.unwrap_or_default()).await);
        }
        drop(self.docker.remove_network(&self.run).await);
        let options = RemoveImageOptionsBuilder::new().force(true).build();
        drop(self.docker.remove_image(&self.run, Some(options), None).await);
    }
}

fn answer(got: &Got) -> (u16, String) {
    (got.status.as_u16(), got.body.clone())
}

fn expect_eq<T: PartialEq + std::fmt::Debug>(what: &str, got: T, wanted: T) -> Result<(), String> {
    if got == wanted { Ok(()) } else { Err(format!("{what}: got {got:?}, wanted {wanted:?}")) }
}

async fn until(
    what: &str,
    gateway: &StatusView,
    wished: impl Fn(&GatewayStatus) -> bool,
) -> Result<(), String> {
    let deadline = Instant::now() + PATIENCE;
    while !wished(&gateway.status()) {
        if Instant::now() > deadline {
            return Err(format!("{what} did not come about: {:?}", gateway.status()));
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}
