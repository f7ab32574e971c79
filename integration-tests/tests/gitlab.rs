//! Projects on a forge: pushes in, pipelines awaited, results out; over a GitLab written from its contract, with real Git,
//! a real registry and a real engine below.

#[path = "gitlab/canary.rs"]
mod canary;
#[path = "gitlab/cancel.rs"]
mod cancel;
#[path = "gitlab/connect.rs"]
mod connect;
#[path = "gitlab/deliveries.rs"]
mod deliveries;
#[path = "gitlab/distributed.rs"]
mod distributed;
#[path = "gitlab/end_to_end.rs"]
mod end_to_end;
#[path = "gitlab/faults.rs"]
mod faults;
#[path = "gitlab/faults_forge.rs"]
mod faults_forge;
#[path = "gitlab/faults_services.rs"]
mod faults_services;
#[path = "gitlab/forges.rs"]
mod forges;
#[path = "gitlab/fuzz.rs"]
mod fuzz;
#[path = "gitlab/installation.rs"]
mod installation;
#[path = "gitlab/load.rs"]
mod load;
#[path = "gitlab/lost.rs"]
mod lost;
#[path = "gitlab/outcomes.rs"]
mod outcomes;
#[path = "gitlab/outgoing.rs"]
mod outgoing;
#[path = "gitlab/review.rs"]
mod review;
#[path = "gitlab/rules.rs"]
mod rules;
#[path = "gitlab/standin.rs"]
mod standin;
#[path = "gitlab/topic.rs"]
mod topic;
#[path = "gitlab/world.rs"]
mod world;
