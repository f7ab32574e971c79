//! The loop that keeps a connection, and the watchdog that compares belief with the broker.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::StreamExt;
use lapin::Event;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use super::Shared;
use super::error::{BrokerError, BrokerState};
use super::figures::count;
use super::session::Session;
use super::topology::{QueueName, Survey};

/// Pause before the next connection; it doubles while none comes about, and is scattered by a quarter either way so
/// that processes do not return in step.
const PAUSE: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(3);
/// A session this old was a good one: the next pause is short again.
const GOOD_SESSION: Duration = Duration::from_secs(5);
/// How often the connections are asked whether they still count as connected.
const GLANCE: Duration = Duration::from_millis(250);
/// Shortest time between two looks at all queues, however often one is asked for.
const LOOK_PAUSE: Duration = Duration::from_millis(200);

/// Keeps a connection until the broker is closed.
pub(super) async fn supervise(shared: Arc<Shared>) {
    let closing = shared.closing.clone();
    let (mut pause, mut turn, mut epoch) = (PAUSE, 0, 0);
    while !closing.is_cancelled() {
        let opening = Session::open(&shared.settings, &shared.topology, epoch + 1, turn);
        let Some(opened) = closing.run_until_cancelled(opening).await else { break };
        match opened {
            Ok((session, survey)) => {
                epoch += 1;
                let begun = Instant::now();
                enter(&shared, &session, &survey);
                attend(&shared, &session).await;
                leave(&shared, &session).await;
                if begun.elapsed() >= GOOD_SESSION {
                    pause = PAUSE;
                }
            }
            Err(error) => refuse(&shared, error),
        }
        turn += 1;
        if closing.run_until_cancelled(sleep(scattered(pause))).await.is_none() {
            break;
        }
        pause = (pause * 2).min(PAUSE_MAX);
    }
    shared.set_state(BrokerState::Away { reason: "closed".to_owned() });
}

fn enter(shared: &Shared, session: &Arc<Session>, survey: &Survey) {
    if session.epoch > 1 {
        count(&shared.meters.reconnects);
    }
    report(shared, survey);
    tracing::info!(epoch = session.epoch, "connected to the broker");
    shared.session.send_replace(Some(session.clone()));
    shared.set_state(BrokerState::Ready);
}

async fn leave(shared: &Shared, session: &Arc<Session>) {
    shared.session.send_replace(None);
    if shared.closing.is_cancelled() {
        session.close().await;
        return;
    }
    let reason = session.reason();
    tracing::warn!(epoch = session.epoch, reason, "lost the broker");
    shared.set_state(BrokerState::Away { reason });
}

fn refuse(shared: &Shared, error: BrokerError) {
    let state = match error {
        BrokerError::Misfit { reason } => {
            if !matches!(shared.state(), BrokerState::Misfit { .. }) {
                tracing::error!(
                    reason,
                    "a queue or exchange of another form is in the way; repair or delete it"
                );
            }
            BrokerState::Misfit { reason }
        }
        BrokerError::Unavailable { reason } => BrokerState::Away { reason },
        error @ (BrokerError::Missing { .. } | BrokerError::Overdue { .. }) => {
            BrokerState::Away { reason: error.to_string() }
        }
    };
    shared.set_state(state);
}

/// Stays with a session until its end.
async fn attend(shared: &Arc<Shared>, session: &Arc<Session>) {
    let mut publishing = pin!(session.publishing.connection.events_listener());
    let mut consuming = pin!(session.consuming.connection.events_listener());
    let mut glance = interval(GLANCE);
    glance.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut watch = pin!(watch(shared, session));
    loop {
        tokio::select! {
            () = session.ended() => return,
            () = shared.closing.cancelled() => return,
            () = &mut watch => return,
            Some(event) = publishing.next() => heed(shared, session, event),
            Some(event) = consuming.next() => {
                if let Event::Error(error) = event {
                    session.fail(&error.to_string());
                }
            }
            _ = glance.tick() => {
                if !session.is_connected() {
                    session.fail("the connection was closed");
                }
            }
        }
    }
}

/// Events of the connection that publishes.
#[expect(clippy::wildcard_enum_match_arm, reason = "the other events tell what is known already")]
fn heed(shared: &Shared, session: &Session, event: Event) {
    match event {
        Event::ConnectionBlocked(reason) => {
            tracing::warn!(reason, "the broker takes no messages");
            shared.set_state(BrokerState::Blocked { reason });
        }
        Event::ConnectionUnblocked => {
            tracing::info!("the broker takes messages again");
            shared.set_state(BrokerState::Ready);
        }
        Event::Error(error) => session.fail(&error.to_string()),
        _ => {}
    }
}

/// The watchdog: looks at all queues, at its interval and whenever something seems to be missing.
async fn watch(shared: &Arc<Shared>, session: &Arc<Session>) {
    loop {
        tokio::select! {
            () = sleep(shared.settings.watch_interval) => {}
            () = shared.look.notified() => {}
        }
        match shared.topology.ensure(&session.consuming.connection).await {
            Ok(survey) => {
                report(shared, &survey);
                compare(shared, &survey);
            }
            Err(error) => return session.fail(&format!("the watchdog failed: {error}")),
        }
        sleep(LOOK_PAUSE).await;
    }
}

/// Tells that something had to be made again.
fn report(shared: &Shared, survey: &Survey) {
    if survey.made.is_empty() {
        return;
    }
    if survey.made.contains(&shared.topology.queue(QueueName::Ledger)) {
        shared.ledger_holds_some.store(false, Ordering::Release);
    }
    tracing::warn!(made = ?survey.made, "queues or exchanges were missing and are made again");
    shared.repaired_by(u64::try_from(survey.made.len()).unwrap_or(u64::MAX));
}

/// A queue with fewer consumers than this process believes to hold there has lost ours in silence.
fn compare(shared: &Shared, survey: &Survey) {
    for (queue, counts) in &survey.counts {
        let held = shared.watched(*queue);
        let settled = held.iter().filter(|watched| watched.is_settled()).count();
        if u64::try_from(settled).unwrap_or(u64::MAX) > counts.consumers {
            tracing::warn!(
                ?queue,
                held = settled,
                known = counts.consumers,
                "consumers got lost; subscribing again"
            );
            held.iter().for_each(|watched| watched.renew.notify_one());
        }
    }
}

/// `pause` plus or minus a quarter, by the clock's lowest digits.
fn scattered(pause: Duration) -> Duration {
    let nanos = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    pause * 3 / 4 + pause.mul_f64(f64::from(nanos.subsec_nanos() % 1_000) / 2_000.0)
}
