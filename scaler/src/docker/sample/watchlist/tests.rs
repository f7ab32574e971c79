//! Who is new, who is gone, and since when each takes requests.

use serde_json::json;

use super::*;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn listed(id: &str, deployment: DeploymentId, routing: RoutingState, started_s: i64) -> Listed {
    let running = Running { limit_cores: Some(0.5), started_at: Some(at(started_s)) };
    Listed { id: id.to_owned(), deployment, name: format!("shop-{id}"), routing, running: Some(running) }
}

fn listing(containers: &[Listed]) -> Listing {
    let deployments = containers.iter().map(|listed| listed.deployment).collect();
    Listing { containers: containers.to_vec(), deployments }
}

fn stats(cpu_s: u64) -> ContainerStatsResponse {
    let total_ns = cpu_s * 1_000_000_000;
    serde_json::from_value(json!({
        "cpu_stats": {"cpu_usage": {"total_usage": total_ns}, "online_cpus": 2},
        "memory_stats": {"usage": 1_000, "limit": 2_000},
    }))
    .unwrap()
}

/// A watchlist and the tokens it gave, with a clock that both parts of the time go by.
struct Stand {
    watchlist: Watchlist,
    begin: Instant,
}

impl Stand {
    fn new() -> Self {
        Self { watchlist: Watchlist::default(), begin: Instant::now() }
    }

    fn instant(&self, second: i64) -> Instant {
        self.begin + Duration::from_secs(u64::try_from(second).unwrap())
    }

    fn list(&mut self, second: i64, containers: &[Listed]) -> Changes {
        self.watchlist.list(&listing(containers), at(second), self.instant(second))
    }

    fn measure(&mut self, second: i64, id: &str, cpu_s: u64) -> Option<ContainerMeasure> {
        let event = self.watchlist.take(id, &stats(cpu_s), at(second), self.instant(second))?;
        assert_eq!(event.at, at(second));
        assert_eq!(event.source.as_deref(), Some("docker"));
        let Measured::Container(measure) = event.measured else { panic!("a container was measured") };
        Some(measure)
    }

    fn ready_since(&mut self, second: i64, id: &str, cpu_s: u64) -> Option<Timestamp> {
        self.measure(second, id, cpu_s).unwrap().ready_since
    }
}

fn ids<T>(named: &[(String, T)]) -> Vec<&str> {
    named.iter().map(|(id, _)| id.as_str()).collect()
}

#[test]
fn a_container_is_watched_once_until_it_or_its_subject_is_gone() {
    let (mut stand, shop, zoo) = (Stand::new(), DeploymentId::generate(), DeploymentId::generate());
    let one = listed("1", shop, RoutingState::Serving, 5);
    let two = listed("2", zoo, RoutingState::Serving, 5);
    let first = stand.list(10, &[one.clone(), two.clone()]);
    assert_eq!(ids(&first.opened), ["1", "2"]);
    assert!(stand.list(12, &[one.clone(), two.clone()]).opened.is_empty());

    let vanished = stand.watchlist.list(
        &Listing { containers: vec![two], deployments: [shop, zoo].into() },
        at(14),
        stand.instant(14),
    );
    assert_eq!(ids(&vanished.gone), ["1"]);
    let event = &vanished.gone[0].1;
    assert_eq!((event.deployment, event.at), (shop, at(14)));
    assert!(matches!(&event.measured, Measured::Container(one) if one.gone && one.container == "shop-1"));
    assert!(MetricEvent::read(&MetricEvent::write(std::slice::from_ref(event)).unwrap()).is_ok());

    let left = stand.list(16, &[]);
    assert!(left.gone.is_empty(), "a subject that left says nothing of its containers");
    assert!(first.opened.iter().all(|(_, token)| token.is_cancelled()), "both streams have ended");
    assert_eq!(stand.measure(17, "2", 3), None);
}

#[test]
fn one_that_served_when_it_was_first_seen_is_ready_since_its_start() {
    let (mut stand, shop) = (Stand::new(), DeploymentId::generate());
    let one = listed("1", shop, RoutingState::Serving, 5);
    stand.list(10, std::slice::from_ref(&one));
    let measure = stand.measure(11, "1", 3).unwrap();
    assert_eq!(measure.ready_since, Some(at(5)));
    assert_eq!(measure.container, "shop-1");
    assert_eq!(measure.owner, Some(format!("deployment {}", shop.short())));
    assert_eq!((measure.cpu_used_total_s, measure.cpu_allowed_cores), (Some(3.0), 0.5));
    stand.list(12, &[one]);
    assert_eq!(stand.ready_since(13, "1", 4), Some(at(5)));
}

#[test]
fn one_that_was_seen_starting_is_ready_since_it_was_renamed() {
    let (mut stand, shop) = (Stand::new(), DeploymentId::generate());
    stand.list(10, &[listed("1", shop, RoutingState::Starting, 9)]);
    assert_eq!(stand.ready_since(11, "1", 1), None);
    stand.list(12, &[listed("1", shop, RoutingState::Serving, 9)]);
    assert_eq!(stand.ready_since(13, "1", 2), Some(at(12)));
    stand.list(14, &[listed("1", shop, RoutingState::Draining, 9)]);
    assert_eq!(stand.ready_since(15, "1", 2), None);
}

#[test]
fn one_that_was_started_again_is_ready_since_then() {
    let (mut stand, shop) = (Stand::new(), DeploymentId::generate());
    stand.list(10, &[listed("1", shop, RoutingState::Serving, 5)]);
    assert_eq!(stand.ready_since(11, "1", 50), Some(at(5)));
    // Too fast for a listing: its CPU time begins anew.
    assert_eq!(stand.ready_since(12, "1", 1), Some(at(12)));
    assert_eq!(stand.ready_since(13, "1", 2), Some(at(12)));
    // Seen between two runs, and then running.
    let stopped = Listed { running: None, ..listed("1", shop, RoutingState::Serving, 5) };
    let changes = stand.list(14, &[stopped]);
    assert!(changes.gone.is_empty(), "it is still there");
    assert_eq!(stand.measure(15, "1", 3), None);
    assert_eq!(ids(&stand.list(16, &[listed("1", shop, RoutingState::Serving, 15)]).opened), ["1"]);
    assert_eq!(stand.ready_since(17, "1", 1), Some(at(15)));
}

#[test]
fn a_stream_that_ended_or_says_nothing_is_opened_again() {
    let (mut stand, shop) = (Stand::new(), DeploymentId::generate());
    let one = [listed("1", shop, RoutingState::Serving, 5)];
    let first = stand.list(10, &one);
    assert!(stand.list(24, &one).opened.is_empty());
    let again = stand.list(26, &one);
    assert_eq!(ids(&again.opened), ["1"]);
    assert!(first.opened[0].1.is_cancelled(), "never two streams of one container");
    assert!(stand.measure(40, "1", 3).is_some());
    assert!(stand.list(42, &one).opened.is_empty(), "it was heard lately");
    stand.watchlist.close("1");
    assert_eq!(ids(&stand.list(44, &one).opened), ["1"]);
    assert_eq!(stand.ready_since(45, "1", 4), Some(at(5)), "what was known of it stays");
}

#[test]
fn the_number_of_watched_containers_is_limited() {
    let (mut stand, shop) = (Stand::new(), DeploymentId::generate());
    let many: Vec<Listed> = (0..CONTAINERS_MAX + 3)
        .map(|number| listed(&number.to_string(), shop, RoutingState::Serving, 5))
        .collect();
    assert_eq!(stand.list(10, &many).opened.len(), CONTAINERS_MAX);
}
