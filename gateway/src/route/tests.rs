//! The routing decision, case by case.

use super::*;

fn container(id: &str, project: &str, port: u16) -> Container {
    let labels = [
        (label::MANAGED, "true".to_owned()),
        (label::ROLE, "app".to_owned()),
        (label::PROJECT, project.to_owned()),
        (label::ENVIRONMENT, "default".to_owned()),
        (label::PORT, "8080".to_owned()),
        (label::GATEWAY_PORT, port.to_string()),
    ];
    Container {
        id: id.to_owned(),
        name: format!("{project}-{id}"),
        created_unix_s: 100,
        activity: Activity::Running,
        labels: labels.map(|(name, value)| (name.to_owned(), value)).into(),
        addresses: BTreeMap::from([("net-a".to_owned(), IpAddr::from([10, 0, 0, 1]))]),
    }
}

fn build(containers: &[Container]) -> RouteTable {
    RouteTable::build(containers, &RouteTable::default())
}

#[test]
fn a_serving_container_is_routed_and_the_other_states_are_not() {
    let serving = container("a", "shop", 4000);
    let mut starting = container("b", "shop", 4000);
    starting.name.push_str("-starting");
    let mut draining = container("c", "shop", 4000);
    draining.name.push_str("-draining");
    let mut stopped = container("d", "shop", 4000);
    stopped.activity = Activity::Ended;
    let table = build(&[serving, starting, draining, stopped]);
    let replicas = &table.routes[&4000].replicas;
    assert_eq!(replicas.len(), 1);
    assert_eq!(replicas[0].address, "10.0.0.1:8080".parse().unwrap());
    assert_eq!(replicas[0].health, HealthCheck::Tcp);
}

#[test]
fn a_port_is_declared_even_while_nothing_serves() {
    let mut starting = container("b", "shop", 4000);
    starting.name.push_str("-starting");
    let table = build(&[starting]);
    assert!(table.routes[&4000].replicas.is_empty());
}

#[test]
fn unmanaged_support_and_portless_containers_are_ignored_silently() {
    let mut unmanaged = container("a", "shop", 4000);
    unmanaged.labels.remove(label::MANAGED);
    let mut support = container("b", "shop", 4000);
    support.labels.insert(label::ROLE.to_owned(), "support".to_owned());
    let mut portless = container("c", "shop", 4000);
    portless.labels.remove(label::GATEWAY_PORT);
    assert_eq!(build(&[unmanaged, support, portless]), RouteTable::default());
}

#[test]
fn bad_labels_are_reported_with_the_container() {
    for (name, value) in [
        (label::GATEWAY_PORT, "0"),
        (label::GATEWAY_PORT, "70000"),
        (label::PORT, "x"),
        (label::HEALTH_PATH, "no-slash"),
        (label::HEALTH_PATH, "/a b\r\n"),
        (label::NETWORK, "elsewhere"),
        (label::PROJECT, ""),
    ] {
        let mut bad = container("a", "shop", 4000);
        bad.labels.insert(name.to_owned(), value.to_owned());
        let table = build(&[bad]);
        assert_eq!(table.rejected.len(), 1, "{name}={value}");
        assert_eq!(table.rejected[0].container, "shop-a");
        assert!(table.routes.values().all(|route| route.replicas.is_empty()), "{name}={value}");
    }
}

#[test]
fn the_named_network_decides_the_address() {
    let mut both = container("a", "shop", 4000);
    both.addresses.insert("net-b".to_owned(), IpAddr::from([10, 0, 0, 2]));
    both.labels.insert(label::NETWORK.to_owned(), "net-b".to_owned());
    assert_eq!(build(&[both]).routes[&4000].replicas[0].address.ip(), IpAddr::from([10, 0, 0, 2]));
}

#[test]
fn the_older_claim_wins_a_port_and_the_other_is_reported() {
    let mut older = container("a", "zoo", 4000);
    older.created_unix_s = 50;
    let table = build(&[container("b", "shop", 4000), older]);
    assert_eq!(table.routes[&4000].app.project, "zoo");
    assert_eq!(table.conflicts.len(), 1);
    assert_eq!(table.conflicts[0].refused.project, "shop");
}

#[test]
fn the_owner_keeps_its_port_when_a_rollout_replaces_its_containers() {
    let first = build(&[container("a", "shop", 4000)]);
    let mut renewed = container("c", "shop", 4000);
    renewed.created_unix_s = 900;
    let mut intruder = container("d", "zoo", 4000);
    intruder.created_unix_s = 500;
    let table = RouteTable::build(&[renewed, intruder], &first);
    assert_eq!(table.routes[&4000].app.project, "shop");
}

#[test]
fn a_stopped_owner_loses_its_port_to_a_running_claim() {
    let first = build(&[container("a", "shop", 4000)]);
    let mut stopped = container("a", "shop", 4000);
    stopped.activity = Activity::Ended;
    let table = RouteTable::build(&[stopped, container("d", "zoo", 4000)], &first);
    assert_eq!(table.routes[&4000].app.project, "zoo");
}

#[test]
fn requests_are_for_the_newest_deployment_that_serves() {
    let of = |id: &str, created_unix_s: i64| {
        let mut container = container(id, "shop", 4000);
        let deployment = DeploymentId::generate();
        container.labels.insert(label::DEPLOYMENT.to_owned(), deployment.to_string());
        container.created_unix_s = created_unix_s;
        (container, Some(deployment))
    };
    let ((older, first), (mut newer, second)) = (of("b", 100), of("a", 200));
    let deployment = |containers: &[Container]| build(containers).routes[&4000].deployment;
    let plain = newer.name.clone();
    newer.name = format!("{plain}-starting");
    assert_eq!(deployment(&[newer.clone(), older.clone()]), first);
    assert_eq!(deployment(&[newer.clone()]), second, "it is the only one");
    newer.name = plain;
    let both = build(&[newer.clone(), older.clone()]);
    assert_eq!(both.routes[&4000].deployment, second);
    let replicas: Vec<_> = both.routes[&4000].replicas.iter().map(|replica| replica.deployment).collect();
    assert_eq!(replicas, [second, first]);
    newer.activity = Activity::Ended;
    let mut draining = older.clone();
    draining.name.push_str("-draining");
    assert_eq!(deployment(&[newer, draining]), first, "what has ended serves nobody");
    let mut nameless = older;
    nameless.labels.insert(label::DEPLOYMENT.to_owned(), "shop".to_owned());
    let table = build(&[nameless]);
    assert_eq!((table.routes[&4000].deployment, table.routes[&4000].replicas.len()), (None, 1));
}
